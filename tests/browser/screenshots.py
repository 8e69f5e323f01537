"""Take pictures of every page, with a robot that learns: `python -m tests.browser.screenshots`.

They go to the folder that is named, or to `screenshots`, which git ignores.
"""

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

from server.dashboard import PAGES
from tests.browser.browser import Tab, browser
from tests.system.harness import TINY, Child, Counter, Server, wait_until

DESK, TABLET = (1440, 950), (820, 1180)
ENOUGH = 60  # updates, with a picture of what the model expects


class Ball:
    """The simulated ball, with a camera."""

    def __init__(self, server, name):
        options = json.dumps({"observe": "both"})
        home = server.home / name
        home.mkdir()
        self._child = Child(
            (
                *("robot_client.cli", "run", "ball", "--server", server.gateway, "--name", name),
                *("--options", options, "--speed", "8"),
                *("--spool", home / "spool", "--cache", home / "cache"),
            ),
            home / "robot.log",
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._child.kill()


def begin(server):
    """Two experiments, of which the first learns a world model. Their ids."""
    config = TINY | {"batch_size": 4, "batch_length": 16}
    settings = {"train_ratio": 16.0, "min_rows": 150, "publish_s": 5.0, "report_s": 10.0}
    balls = {"name": "ball, camera and numbers", "robots": ["ball-1", "ball-2"]}
    learns = server.create(config=config, **settings, **balls)
    counters = {"name": "counting", "robots": ["arm-left", "arm-right"]}
    return learns, server.create("random", {}, **counters)


def take(folder, server, opened, experiment):
    """A picture of each page: for a desk in the dark and in the light, and for a tablet."""
    for look, size in (("dark", DESK), ("light", DESK), ("tablet", TABLET)):
        scheme = "light" if look == "light" else "dark"
        tab = Tab(opened, server.port, scheme=scheme, size=size)
        for page in PAGES:
            path = page.path.replace("{experiment}", experiment).replace("{robot}", "ball-1")
            tab.open(path)
            tab.page.wait_for_timeout(4000)
            name = page.build.split(":")[0].rpartition(".")[2]
            tab.page.screenshot(path=folder / f"{name}-{look}.png")
            print(folder / f"{name}-{look}.png", flush=True)
        tab.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="screenshots", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, ExitStack() as open_things:
        server = open_things.enter_context(Server(home))
        learns, _ = begin(server)
        for name in ("ball-1", "ball-2"):
            open_things.enter_context(Ball(server, name))
        for name in ("arm-left", "arm-right"):
            open_things.enter_context(Counter(server, name, hz=10.0))
        opened = open_things.enter_context(browser())
        for _ in range(2):  # of two versions, as it learns between
            server.wait_for(learns, lambda found: found["policy_version"] is not None, 600)
            made = server.post(f"/experiments/{learns}/evaluations", {"episodes": 3})["id"]
            path = f"/experiments/{learns}/evaluations/{made}"
            wait_until(lambda path=path: server.get(path)["state"] != "running", dict, 600)
        server.wait_for(learns, lambda found: found["learner"]["updates"] > ENOUGH, 600)
        server.post("/robots/arm-right/stop")
        take(folder, server, opened, learns)


if __name__ == "__main__":
    main()
