"""The roll-out's rule at work: canaries, promotion, roll-back; and the operator's pin above it."""

from unittest.mock import patch

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from robot_client.schema import Tag
from tests.unit.house import in_house
from tests.unit.test_evaluations import Player, looked, running
from tests.unit.test_rest_policies import publish
from tests.unit.test_state_machine import Idle

RULE = {"automatic": True, "episodes": 4, "min_episodes": 4, "false_alarms": 0.2}


@pytest.fixture(autouse=True)
def _no_learners():
    with patch("server.experiments.Supervisor", Idle):
        yield


async def trial(house, made):
    found = (await house.ask("GET", f"/experiments/{made}/rollout"))["trial"]
    return found and (found["stable"], found["candidate"], found["canaries"])


async def kinds(house, made):
    found = await house.items(f"/events?experiment={made}&limit=1000")
    return [e["kind"] for e in found if e["kind"].startswith("rollout")][::-1]


async def play(house, player, version, totals):
    for total in totals:
        player.play(total, version)
    await looked(house)


def test_a_good_version_is_promoted_and_a_bad_one_goes_back(tmp_path):
    async def first(house):
        made = await running(house, tmp_path, 1, rollout=RULE)
        one, two = Player(house, "ball-1", made), Player(house, "ball-2", made)
        await looked(house)
        publish(house, tmp_path, made, 1)
        assert [m["version"] for _, m in house.fleet.published] == [0]  # not to all
        await play(house, two, 0, [10, 11, 12, 13])
        assert await trial(house, made) == (0, 1, ["ball-1"])
        assert house.fleet.own["ball-1", made]["version"] == 1
        await play(house, one, 1, [9, 12, 14])
        assert await trial(house, made) == (0, 1, ["ball-1"])
        await play(house, one, 1, [11])
        assert await trial(house, made) == (1, None, [])
        assert house.fleet.published[-1][1]["version"] == 1
        publish(house, tmp_path, made, 2)
        await looked(house)
        assert await trial(house, made) == (1, 2, ["ball-1"])
        one.play(-50.0, 2, Tag(cut=True))  # an operator's doing: it does not count
        await play(house, one, 2, [-5, -6, -7])
        return made

    made = in_house(tmp_path, first)

    async def second(house):
        house.experiments.feed.publish("lost", None, {})
        one = Player(house, "ball-1", made)
        one.episode, one.seq = 20, house.fleet.store(made).next_seq("ball-1", "a")
        assert [m["version"] for _, m in house.fleet.published] == [1]
        assert house.fleet.own["ball-1", made]["version"] == 2
        await play(house, one, 2, [-8])
        assert await trial(house, made) == (1, None, [])
        assert house.fleet.own["ball-1", made] is None
        publish(house, tmp_path, made, 2)  # never again
        await looked(house)
        assert await trial(house, made) == (1, None, [])
        (event,) = await house.items(f"/events?kind=rollout_rolled_back&experiment={made}")
        assert event["text"].startswith(
            "version 2 back to 1: returns -6.5 against 11.5 over 4 and 4"
        )
        found = await kinds(house, made)
        begun = ["rollout_begun", "rollout_canary", "rollout_promoted", "rollout_canary"]
        assert found == [*begun, "rollout_rolled_back"]

    in_house(tmp_path, second)


def test_a_promoted_version_that_gets_worse_is_taken_back_from_all(tmp_path):
    async def act(house):
        made = await running(house, tmp_path, 1, rollout=RULE)
        one, two = Player(house, "ball-1", made), Player(house, "ball-2", made)
        await looked(house)
        publish(house, tmp_path, made, 1)
        await play(house, two, 0, [10, 11, 12, 13, 14, 15, 16, 17])
        await play(house, one, 1, [9, 12, 14, 11])
        assert await trial(house, made) == (1, None, [])
        await play(house, two, 1, [-50] * 3)
        assert await trial(house, made) == (1, None, [])  # the next look is at eight
        await play(house, two, 1, [-50])
        assert await trial(house, made) == (0, None, [])
        assert house.fleet.published[-1][1]["version"] == 0

    in_house(tmp_path, act)


def test_switching_it_off_lets_go_and_a_pin_is_above_it(tmp_path):
    async def act(house):
        made = await running(house, tmp_path, 1, rollout=RULE)
        one = Player(house, "ball-1", made)
        await looked(house)
        publish(house, tmp_path, made, 1)
        await play(house, one, 0, [10, 11, 12, 13])
        assert await trial(house, made) == (0, 1, ["ball-1"])
        await house.ask("POST", f"/experiments/{made}/policies/0/pin")
        assert house.experiments.rollout.offered(made, "ball-1") == 0
        await play(house, one, 1, [-10, -11, -12, -13])
        assert (await kinds(house, made))[-1] == "rollout_canary"  # it decides nothing
        await house.ask("DELETE", f"/experiments/{made}/rollout/pin")
        assert house.experiments.rollout.offered(made, "ball-1") == 1
        await house.ask("PATCH", f"/experiments/{made}", {"rollout": {"automatic": False}})
        await looked(house)
        assert await trial(house, made) is None
        assert house.experiments.rollout.offered(made, "ball-1") == 1
        assert (await kinds(house, made))[-1] == "rollout_released"

    in_house(tmp_path, act)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-100, 100)), max_size=6))
def test_a_pinned_experiment_never_moves(tmp_path_factory, plays):
    tmp_path = tmp_path_factory.mktemp("pinned")

    async def act(house):
        made = await running(house, tmp_path, 2, rollout=RULE)
        one = Player(house, "ball-1", made)
        await house.ask("POST", f"/experiments/{made}/policies/0/pin")
        for version, total in plays:
            publish(house, tmp_path, made, version)
            await play(house, one, version, [total])
            assert house.experiments.rollout.offered(made) == 0
            assert house.experiments.rollout.offered(made, "ball-1") == 0
        assert house.fleet.own.get(("ball-1", made)) is None

    in_house(tmp_path, act)
