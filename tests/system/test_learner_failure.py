"""A learner that fails is restarted; the API and the robots hear of it, and the robots act on."""

import os
import shutil
import signal

import pytest

from robot_client.messages import Pulse, Welcome
from tests.system.harness import TINY, Counter, Server, kill, pause, wait_until
from tests.system.test_refusals import Stranger, beat, hello

SILENCE_S = 8.0


def learning(server, experiment, more=0):
    """The experiment once its learner has made `more` updates, and two checkpoints."""
    found = server.wait_for(
        experiment,
        lambda e: e["learner"]["state"] == "running" and e["learner"]["updates"] > more,
    )
    wait_until(lambda: len(server.checkpoints(experiment)) == 2, server.child.tail)
    return found["learner"]


def pulse(server, wanted):
    """Wait until a robot hears from the server that its learner is `wanted`."""
    with Stranger(server.gateway) as robot:
        robot.say(hello("other"))
        robot.hear(Welcome)

        def heard():
            robot.say(beat())
            return robot.hear(Pulse).learner == wanted

        wait_until(heard, server.child.tail, every=0.2)


def goes_on(server, experiment, counter):
    """The robot acts, and with a policy."""
    goal = server.experiment(experiment)["rows"] + 20
    server.wait_for(experiment, lambda found: found["rows"] >= goal)
    robot = server.robot(counter.name)
    assert robot["policy_version"] >= 0
    assert robot["safety"] in ("fresh", "cached")


def spoil(server, experiment, number):
    """Flip bits in the middle of a checkpoint."""
    folder = server.data / "experiments" / experiment / "checkpoints" / f"{number:012d}"
    with (folder / "tensors.safetensors").open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        block = file.read(50)
        file.seek(-100, os.SEEK_END)
        file.write(bytes(255 - b for b in block))


def told(server, experiment, kind):
    """Texts of the experiment's events of this kind."""
    events = server.get(f"/experiments/{experiment}/events")["items"]
    return [event["text"] for event in events if event["kind"] == kind]


def frozen(server, experiment):
    """Stop the learner where it stands, so that no checkpoint can come; its pid."""
    pid = learning(server, experiment)["pid"]
    os.kill(pid, signal.SIGSTOP)
    return pid


@pytest.mark.timeout(400)
def test_failures_are_told_and_survived(tmp_path):
    with Server(tmp_path, "--learner-silence", SILENCE_S) as server:
        experiment = server.create(robots=["counter", "other"])
        with Counter(server) as counter:
            one_that_freezes_is_replaced(server, experiment, counter)
            a_damaged_checkpoint_is_passed_over(server, experiment)
            without_a_whole_checkpoint_it_fails_until_there_is_one(server, experiment, counter)
            assert counter.child.running


def one_that_freezes_is_replaced(server, experiment, counter):
    pid = frozen(server, experiment)
    goes_on(server, experiment, counter)
    found = server.wait_for(experiment, lambda e: "silent" in e["learner"]["reason"])
    assert f"{SILENCE_S:g} s" in found["learner"]["reason"]
    pulse(server, "failed")
    assert learning(server, experiment, found["learner"]["updates"])["pid"] != pid


def a_damaged_checkpoint_is_passed_over(server, experiment):
    pid = frozen(server, experiment)
    older, newest = server.checkpoints(experiment)
    spoil(server, experiment, newest)
    kill(pid)
    wait_until(lambda: told(server, experiment, "checkpoint_damaged"), server.child.tail)
    assert server.wait_for(experiment, lambda e: e["learner"]["pid"] not in (None, pid))
    learning(server, experiment, newest)
    (text,) = told(server, experiment, "checkpoint_damaged")
    assert f"{newest:012d}" in text
    assert f"from {older}" in text
    folder = server.data / "experiments" / experiment / "checkpoints"
    assert (folder / f"damaged-{newest:012d}").is_dir()


def without_a_whole_checkpoint_it_fails_until_there_is_one(server, experiment, counter):
    pid = frozen(server, experiment)
    folder, kept = server.data / "experiments" / experiment / "checkpoints", server.home / "kept"
    shutil.copytree(folder, kept)
    numbers = server.checkpoints(experiment)
    for number in numbers:
        spoil(server, experiment, number)
    kill(pid)
    found = server.wait_for(experiment, lambda e: "CheckpointError" in e["learner"]["reason"])
    assert f"{numbers[-1]:012d}" in found["learner"]["reason"]
    assert "Traceback" in found["learner"]["tail"]
    assert found["state"] == "running"
    pulse(server, "failed")
    goes_on(server, experiment, counter)
    again = server.wait_for(experiment, lambda e: e["learner"]["restarts"] >= 2)
    assert "CheckpointError" in again["learner"]["reason"]
    assert server.checkpoints(experiment) == numbers
    assert len(told(server, experiment, "learner_failed")) >= 3
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    learning(server, experiment, numbers[-1])


@pytest.mark.timeout(200)
def test_what_a_restart_cannot_help_fails_the_experiment(tmp_path):
    with Server(tmp_path) as server:
        experiment = server.create(config=TINY | {"keys": "camera"})
        with Counter(server):
            found = server.wait_for(experiment, lambda e: e["state"] == "failed")
            assert "keys" in found["reason"]
            assert "camera" in found["reason"]
            assert found["learner"]["state"] == "failed"
            pause(2)
            assert server.experiment(experiment)["learner"]["restarts"] == 0
            assert found["allowed"] == ["start", "stop"]
