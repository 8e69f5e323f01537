"""Strangers send nonsense to a working server: each is told what was wrong, and nobody else is."""

import msgpack
import numpy as np
import pytest
import zmq

from robot_client.messages import (
    PROTOCOL,
    Heartbeat,
    Hello,
    Rejected,
    Upload,
    Welcome,
    decode,
    encode,
)
from robot_client.robots.counting import CountingRobot
from robot_client.schema import row_fields, space_to_json
from tests.system.harness import Counter, Server, check_counting, wait_until

ROBOT = CountingRobot()
PATIENCE_MS = 60_000


class Stranger:
    """A bare DEALER socket."""

    def __init__(self, address):
        self._socket = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, frames):
        self._socket.send_multipart(frames)

    def say(self, message):
        self.send(encode(message))

    def hear(self, kind):
        """The next message of this kind."""
        while self._socket.poll(PATIENCE_MS):
            message = decode(self._socket.recv_multipart())
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__}")

    def refused(self, frames):
        """What a refusal of these frames says: (field, expected, got)."""
        self.send(frames)
        rejected = self.hear(Rejected)
        assert rejected.expected
        assert rejected.got
        return rejected.field, rejected.expected, rejected.got


def hello(robot, **changes):
    about = {
        "robot": robot,
        "epoch": f"epoch of {robot}",
        "observation_space": space_to_json(ROBOT.observation_space),
        "action_space": space_to_json(ROBOT.action_space),
        "control_hz": 20.0,
        "task": ROBOT.task.to_json(),
        "first_seq": 0,
        "next_seq": 0,
        "policy_version": -1,
        "client": "stranger",
    }
    return Hello(**about | changes)


def upload(robot, rows=3, **changes):
    fields = row_fields(ROBOT.observation_space, ROBOT.action_space)
    columns = {k: np.zeros((rows, *f.shape), f.dtype) for k, f in fields.items()}
    columns["is_first"][0] = True
    return Upload(f"epoch of {robot}", 0, 0, "roll", columns | changes)


def header(frames, **changes):
    """The frames with another header."""
    return [msgpack.packb(msgpack.unpackb(bytes(frames[0])) | changes), *frames[1:]]


def beat():
    return Heartbeat(1, -1, "stop", "", 0, 0.0, 0, 0, -1.0, 0.0, "", 0)


def malformed():
    """Name -> (frames, field, part of what was expected, part of what was got)."""
    good = encode(beat())
    body = msgpack.unpackb(bytes(good[0]))["body"]
    shape, kind = np.zeros((3, 4), np.float32), np.zeros((3, 3), np.float64)
    return {
        "no frames": ([b""], "header", "", ""),
        "no msgpack": ([b"\xc1 not msgpack"], "header", "", ""),
        "another protocol": (header(good, v=99), "v", str(PROTOCOL), "99"),
        "an unknown kind": (header(good, kind="Payload"), "kind", "", "Payload"),
        "a server's kind": (encode(Welcome("x", "y", 0, 0.5)), "kind", "robot", "Welcome"),
        "a field too few": (header(good, body={}), "tick", "a value", "no such field"),
        "a field of another type": (
            header(good, body=body | {"tick": "one"}),
            "tick",
            "int",
            "one",
        ),
        "frames that are not announced": ([*good, b"more"], "arrays", "one a frame", "0"),
        "a header too large": ([b"x" * 2**17], "header", "65536", "131072"),
        "too many frames": ([good[0], *[b""] * 100], "frames", "64", "101"),
        "another shape": (
            encode(upload("stranger", count=shape)),
            "columns.count",
            "(3, 3)",
            "(3, 4)",
        ),
        "another dtype": (
            encode(upload("stranger", count=kind)),
            "columns.count",
            "float32",
            "float64",
        ),
        "a column too many": (
            encode(upload("stranger", more=shape)),
            "columns.more",
            "count",
            "unknown",
        ),
        "another epoch": (encode(upload("nobody")), "epoch", "epoch of stranger", "nobody"),
    }


@pytest.mark.timeout(240)
def test_what_is_wrong_is_named_and_nothing_else_notices(tmp_path):
    with Server(tmp_path) as server:
        experiment = server.create("random", {}, robots=["counter", "stranger"])
        with Counter(server) as counter:
            server.wait_for(experiment, lambda found: found["rows"] > 50)
            with Stranger(server.gateway) as stranger:
                field, _, got = stranger.refused(encode(beat()))
                assert (field, got) == ("hello", "Heartbeat")
                check_hellos(stranger)
                stranger.say(hello("stranger"))
                assert stranger.hear(Welcome).experiment == experiment
                for name, (frames, *wanted) in malformed().items():
                    said = stranger.refused(frames)
                    assert all(w in s for w, s in zip(wanted, said, strict=True)), (name, said)
                stranger.say(beat())
            oversized(server)
            goal = server.experiment(experiment)["rows"] + 50
            server.wait_for(experiment, lambda found: found["rows"] >= goal)
            assert counter.child.end() == 0
        wait_until(lambda: not server.robot("counter")["connected"], server.child.tail)
        rows, audit = server.rows(experiment)
        assert server.child.running
        assert server.experiment(experiment)["learner"]["restarts"] == 0
        events = server.get(f"/experiments/{experiment}/events")["items"]
        told = {e["text"] for e in events if e["robot"] == "counter"}
        assert told <= {"stop: there is no policy yet", "ended as it was told to"}
    assert audit.problems == ()
    assert audit.streams == 1
    assert len(rows) >= goal
    assert not check_counting(rows).any()


def check_hellos(stranger):
    wrong_space = space_to_json(CountingRobot(action="box").action_space)
    for changes, field in (
        ({"robot": ""}, "robot"),
        ({"control_hz": 0.0}, "control_hz"),
        ({"observation_space": {"type": "tuple"}}, "observation_space"),
        ({"action_space": wrong_space}, "action_space"),
        ({"first_seq": 5, "next_seq": 9}, "first_seq"),
    ):
        said = stranger.refused(encode(hello(**{"robot": "stranger"} | changes)))
        assert said[0].startswith(field), said


def oversized(server):
    """A frame beyond the socket's limit costs the sender its connection, and nothing more."""
    with Stranger(server.gateway) as stranger:
        stranger.say(hello("stranger"))
        stranger.hear(Welcome)
        stranger.send([b"x" * (17 * 2**20)])
        stranger.say(hello("stranger"))
        stranger.hear(Welcome)
