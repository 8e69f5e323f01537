"""What operators do over REST reaches a real robot: marks, resets, stops, versions, deletion."""

import pytest

from tests.system.harness import Counter, Server, wait_until


def tell(server, robot, verb):
    """Give a command and wait for the robot's answer."""
    number = server.post(f"/robots/{robot}/{verb}")["id"]
    order = wait_until(lambda: done(server, number), lambda: str(server.robot(robot)))
    assert order["error"] == ""


def done(server, number):
    found = server.get(f"/commands/{number}")
    return found if found["done"] else None


def acts(server, robot, episode=0):
    """The robot, once it acts in this episode or a later one."""

    def condition():
        found = server.robot(robot) or {"safety": None}
        ready = found["safety"] == "fresh" and found["policy_version"] == 0
        return found if ready and found["episode"] >= episode else None

    return wait_until(condition, lambda: str(server.robot(robot)))


def finished(server, experiment, count):
    def condition():
        found = server.get(f"/experiments/{experiment}/episodes")["items"]
        return found if len(found) >= count else None

    return wait_until(condition, lambda: server.child.tail())


@pytest.mark.timeout(120)
def test_operators_steer_a_real_robot(tmp_path):
    with Server(tmp_path) as server:
        experiment = server.create("random", {})
        with Counter(server, episode_steps=100_000) as counter:
            marks_its_episodes(server, experiment, counter.name)
            stops_it_at_once(server, counter.name)
            pins_over_a_restart(server, experiment, counter.name)
            deletes_the_experiment(server, experiment, counter.name)


def marks_its_episodes(server, experiment, robot):
    for count, verb in enumerate(("success", "failure", "discard", "reset"), 1):
        acts(server, robot, count - 1)
        tell(server, robot, verb)
        finished(server, experiment, count)
    found = finished(server, experiment, 4)[:4]
    assert [e["outcome"] for e in found] == ["success", "failure", None, None]
    assert [e["discarded"] for e in found] == [False, False, True, False]
    assert [e["is_terminal"] for e in found] == [True, True, False, False]
    signals = server.get(f"/experiments/{experiment}/episodes/{found[0]['id']}/signals")
    assert signals["rows"] == found[0]["steps"] + 1
    assert server.get(f"/experiments/{experiment}/replay")["discarded_episodes"] == 1
    audit = server.post(f"/experiments/{experiment}/replay/verify")
    assert audit["problems"] == []


def stops_it_at_once(server, robot):
    tell(server, robot, "stop")
    wait_until(lambda: server.robot(robot)["safety"] == "estop", lambda: server.child.tail())
    tell(server, robot, "release")
    assert 0 < acts(server, robot)["latency"] < 1


def pins_over_a_restart(server, experiment, robot):
    assert server.post(f"/experiments/{experiment}/policies/0/pin")["pinned"] == 0
    canary = f"/experiments/{experiment}/rollout/canaries/{robot}"
    assert server.answer("PUT", canary, {"version": 0})["canaries"] == {robot: 0}
    assert server.stop() == 0
    server.start()
    found = server.get(f"/experiments/{experiment}/rollout")
    assert (found["pinned"], found["canaries"]) == (0, {robot: 0})
    acts(server, robot)


def deletes_the_experiment(server, experiment, robot):
    server.post(f"/experiments/{experiment}/stop")

    def rests():
        found = server.robot(robot)
        return found["safety"] == "stop" and found["backlog_rows"] == 0

    wait_until(rests, lambda: str(server.robot(robot)))
    assert server.answer("DELETE", f"/experiments/{experiment}?confirm={experiment}") is None
    assert server.get("/experiments")["total"] == 0
    assert not (server.data / "experiments" / experiment).exists()
    assert server.robot(robot)["experiment"] is None
    assert server.get("/health")["status"] == "ok"
