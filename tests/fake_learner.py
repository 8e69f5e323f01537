"""Speaks the learner's side of the protocol, without learning. The directory's name says how."""

import json
import sys
import threading
from pathlib import Path


def say(**event):
    print(json.dumps(event), flush=True)


def obey(directory):
    """Write down every order; end on `stop` and on end of file."""
    with (directory / "orders").open("a") as orders:
        for line in sys.stdin:
            order = json.loads(line)["do"]
            orders.write(order + "\n")
            orders.flush()
            say(event="heard", order=order)
            if order == "stop":
                return
        orders.write("eof\n")


def main():
    directory = Path(sys.argv[1])
    lives = directory / "lives"
    life = int(lives.read_text()) + 1 if lives.exists() else 1
    lives.write_text(str(life))
    manner = directory.name
    if manner == "raises":
        raise RuntimeError("the loss is not a number")
    if manner == "says":
        say(event="failed", error="CUDA is out of memory", updates=3)
        sys.exit(1)
    if manner == "fatal":
        say(event="failed", error="action_space: expected Box, got Discrete", fatal=True)
        sys.exit(1)
    if manner == "mute":
        threading.Event().wait()
    say(event="ready", updates=5)
    if manner == "stuck":
        say(event="heartbeat", updates=5, busy_s=1e6)
    if manner in ("hangs", "stuck"):
        threading.Event().wait()
    if manner == "deaf":
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say(event="deaf")
        threading.Event().wait()
    if manner == "garbage":
        print("not JSON\n[1]\n{}", flush=True)
    if manner == "progresses":
        say(event="checkpoint", updates=5 + life)
        sys.exit(3)
    if manner == "once" and life == 1:
        sys.exit(3)
    say(event="metrics", updates=6, rows=100, time=1000.0, values={"loss": 0.5, "ratio": 32})
    say(event="policy", version=2, manifest={"updates": 6, "agent": "fake"})
    say(event="report", name="open_loop", path="reports/6.png")
    obey(directory)


main()
