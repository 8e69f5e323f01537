"""Evaluations over REST with robots that are played: dealt out, counted, kept apart, kept for."""

import asyncio
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from robot_client.messages import Event, Heartbeat, PolicyReport
from robot_client.schema import Chunk, Tag
from server.checkpoint_files import keep_nearest, keep_only, list_checkpoints, restore
from server.evaluation.evaluations import best_of
from server.evaluation.schedule import Moment, is_due
from server.evaluation.settings import EvaluationSettings
from server.evaluation.shares import Shares
from tests.unit.house import in_house
from tests.unit.test_api import chunk
from tests.unit.test_rest_policies import publish
from tests.unit.test_state_machine import Idle


@pytest.fixture(autouse=True)
def _no_learners():
    """What tests publish is all that there is."""
    with patch("server.experiments.Supervisor", Idle):
        yield


class Player:
    """A robot that is told what to play, and plays it when a test says so."""

    def __init__(self, house, name, experiment):
        self.house, self.name, self.experiment = house, name, experiment
        self.episode, self.seq = -1, 0
        house.join(name)

    def beat(self, evaluation=0, backlog=0):
        beat = Heartbeat(1, 2, "fresh", "", backlog, 20.0, 0, 0, 0.5, 0.0, "", evaluation)
        self.house.experiments.heartbeat(self.name, self.experiment, beat)

    def play(self, total, version, tag=Tag(), versions=None, ends=False):  # noqa: B008 - frozen
        self.episode += 1
        part = chunk(self.episode, self.seq, [0.0, 0.0, total])
        self.seq += 3
        part.columns["policy_version"][:] = version if versions is None else versions
        part.columns["is_terminal"] = part.columns["is_last"] & ends
        part = Chunk("a", self.episode, part.first_seq, part.columns, "roll", tag)
        self.house.fleet.store(self.experiment).append(self.name, part)
        self.house.experiments.stored(self.name, self.experiment, part)

    @property
    def orders(self):
        """(evaluation, version, episodes, learn) that it was given so far."""
        asked = [o for robot, o in self.house.fleet.evaluations if robot == self.name]
        return [(o.evaluation, o.version, o.episodes, o.learn) for o in asked]


async def running(house, tmp_path, versions=2, **settings):
    made = await house.create(**settings)
    await house.ask("POST", f"/experiments/{made}/start")
    for version in range(versions):
        publish(house, tmp_path, made, version)
    return made


async def looked(house):
    for _ in range(3):
        await house.experiments.overseer.look()


def test_an_evaluation_is_played_counted_and_kept_apart(tmp_path):
    async def act(house):
        made = await running(house, tmp_path)
        path = f"/experiments/{made}/evaluations"
        await house.ask("POST", path, {}, 409)  # no robot is there
        player = Player(house, "ball-1", made)
        player.play(100.0, 1)
        with house.experiments.feed.subscribe() as news:
            wanted = {"version": 0, "episodes": 2, "replay": False}
            begun = await house.ask("POST", path, wanted, 201)
            assert (begun["id"], begun["state"], begun["robots"]) == (1, "running", ["ball-1"])
            assert house.fleet.own["ball-1", made]["version"] == 0
            await house.ask("POST", path, {"robots": ["ball-1"]}, 409)  # it is busy
            player.beat()
            tag = Tag(1, False)
            for total, how, versions in (
                (1.0, tag, None),
                (-9.0, replace(tag, cut=True), None),  # an operator ended it
                (-9.0, tag, [0, 1, 1]),  # two versions
                (-9.0, Tag(7), None),  # of an evaluation that there is not
            ):
                player.play(total, 0, how, versions)
            assert (await house.ask("GET", f"{path}/1"))["returns"] == [1.0]
            player.beat(evaluation=1)
            player.beat(backlog=1)  # it has finished, and not delivered
            assert player.orders == [(1, 0, 2, False)]
            player.beat()
            assert player.orders[1:] == [(1, 0, 1, False)]  # what was lost is played again
            player.play(3.0, 0, tag)
            await looked(house)
            kinds = [(await news.get()).kind for _ in range(2)]
        found = await house.ask("GET", f"{path}/1")
        assert "evaluation" in kinds
        assert (found["state"], found["returns"], found["mean"]) == ("done", [1.0, 3.0], 2.0)
        assert (found["lower"], found["upper"]) == pytest.approx((2 - 12.7062, 2 + 12.7062))
        assert house.fleet.own["ball-1", made] is None
        assert player.orders[-1][2] == 0
        await kept_apart(house, made)
        return made

    made = in_house(tmp_path, act)

    async def after_a_restart(house):
        (found,) = await house.items(f"/experiments/{made}/evaluations")
        assert (found["state"], found["played"]) == ("done", 2)
        assert (await house.ask("GET", f"/experiments/{made}/rollout"))["best"] == 0

    in_house(tmp_path, after_a_restart)


async def kept_apart(house, made):
    """From the curve, from the returns of learning, from the replay; and there all the same."""
    names = ("episode_return", "evaluation_return")
    query = "&".join(f"name={name}" for name in names)
    series = (await house.ask("GET", f"/metrics?experiment={made}&{query}"))["series"]
    assert [series[name]["value"] for name in names] == [[100.0], [1.0, 3.0]]
    policies = {p["version"]: p for p in await house.items(f"/experiments/{made}/policies")}
    assert policies[1]["returns"]["mean"] == 100.0
    assert (policies[0]["returns"], policies[1]["evaluation"]) == (None, None)
    assert (policies[0]["evaluation"]["mean"], policies[0]["best"]) == (2.0, True)
    path = f"/experiments/{made}/episodes?evaluation"
    assert (await house.ask("GET", f"{path}=true"))["total"] == 5
    assert [e["total_reward"] for e in await house.items(f"{path}=false")] == [100.0]
    assert house.fleet.store(made).rows == 18


def test_a_lost_robots_episodes_are_played_by_another_and_a_refusal_ends_it(tmp_path):
    async def act(house):
        made = await running(house, tmp_path)
        path = f"/experiments/{made}/evaluations"
        first, second = Player(house, "ball-1", made), Player(house, "ball-2", made)
        await house.ask("POST", path, {"robots": ["ball-1", "ball-2"], "episodes": 4}, 201)
        first.beat()
        second.beat()
        assert (first.orders, second.orders) == ([(1, 1, 2, True)], [(1, 1, 2, True)])
        second.beat(evaluation=1)
        house.fleet.connected.pop("ball-1")
        await looked(house)
        for _ in range(2):
            second.play(5.0, 1, Tag(1))
        second.beat()
        assert second.orders[1:] == [(1, 1, 1, True)]  # and one for the robot that may come back
        second.play(5.0, 1, Tag(1))
        second.play(5.0, 1, Tag(1))
        await looked(house)
        assert (await house.ask("GET", f"{path}/1"))["state"] == "done"
        second.beat(evaluation=1)
        assert second.orders[-1] == (0, 0, 0, True)  # no more of that
        await house.ask("POST", path, {"robots": ["ball-2"]}, 201)
        house.experiments.policy_reported("ball-2", PolicyReport(made, 1, "the probe differs"))
        await looked(house)
        found = await house.ask("GET", f"{path}/2")
        assert (found["state"], found["reason"]) == (
            "failed",
            "refused by ball-2: the probe differs",
        )
        await house.ask("POST", path, {"robots": ["ball-2"]}, 201)
        for _ in range(2):
            assert (await house.ask("POST", f"{path}/3/cancel"))["state"] == "cancelled"
        await house.ask("POST", path, {"robots": ["nobody"]}, 404)
        await house.ask("POST", path, {"version": 9}, 404)
        await house.ask("GET", f"{path}/9", None, 404)
        await house.ask("POST", path, {"robots": ["ball-2"]}, 201)
        await house.ask("POST", f"/experiments/{made}/stop")
        await looked(house)
        assert (await house.ask("GET", f"{path}/4"))["state"] == "cancelled"

    in_house(tmp_path, act)


def test_evaluations_come_on_schedule_and_the_schedule_may_change(tmp_path):
    async def act(house):
        made = await running(house, tmp_path, evaluation={"every_rows": 6, "episodes": 1})
        player = Player(house, "ball-1", made)
        player.play(1.0, 1)
        await looked(house)
        assert await house.items(f"/experiments/{made}/evaluations") == []
        player.play(1.0, 1)
        await looked(house)
        (found,) = await house.items(f"/experiments/{made}/evaluations")
        assert (found["scheduled"], found["version"], found["episodes"]) == (True, 1, 1)
        change = {"evaluation": {"every_versions": 3}}
        view = await house.ask("PATCH", f"/experiments/{made}", change)
        assert view["evaluation"]["every_rows"] is None
        player.play(2.0, 1, Tag(1))
        player.play(2.0, 1)
        player.play(2.0, 1)
        await looked(house)
        assert len(await house.items(f"/experiments/{made}/evaluations")) == 1
        for version in (2, 3, 4):
            publish(house, tmp_path, made, version)
        await looked(house)
        assert len(await house.items(f"/experiments/{made}/evaluations")) == 2
        bad = {"evaluation": {"every_rows": 0}}
        await house.ask("PATCH", f"/experiments/{made}", bad, 422)

    in_house(tmp_path, act)


def test_safety_is_counted_by_episode(tmp_path):
    async def act(house):
        made = await running(house, tmp_path)
        player = Player(house, "ball-1", made)
        house.experiments.event("ball-1", made, Event("fall", "at step 3"))
        house.experiments.event("ball-1", made, Event("safety", "estop: by an operator"))
        house.experiments.event("ball-1", made, Event("safety", "stop: paused by an operator"))
        player.play(1.0, 1)
        part = chunk(1, 3, [0.0] * 6)
        part.columns["source"][:] = [0, 4, 4, 0, 4, 4]  # two holds; nothing is done in the last row
        part.columns["policy_version"][part.columns["source"] == 4] = -1
        part.columns["action"] = np.zeros((6, 2), np.float32)
        part.columns["action_requested"] = np.full((6, 2), 0.5, np.float32)
        house.experiments.stored("ball-1", made, part)
        found = await house.items(f"/experiments/{made}/episodes")
        assert [e["safety_events"] for e in found] == [2, 2]
        assert [e["moved_by_limits"] for e in found] == [0.0, 0.5]

    in_house(tmp_path, act)


def test_what_people_do_is_neither_fair_nor_a_policys_fault(tmp_path):
    async def act(house):
        made = await running(house, tmp_path)
        Player(house, "ball-1", made)
        for episode, (sources, versions, _) in enumerate(PEOPLE):
            part = chunk(episode, episode * 4, [0.0] * 4)
            part.columns["source"][:] = sources
            part.columns["policy_version"][:] = versions
            part.columns["action"] = np.zeros((4, 2), np.float32)
            part.columns["action_requested"] = np.full((4, 2), 0.5, np.float32)
            part.columns["action_requested"][part.columns["source"] == 3] = 100.0
            house.experiments.stored("ball-1", made, part)
        found = await house.items(f"/experiments/{made}/episodes")
        assert [(e["fair"], e["safety_events"]) for e in found] == [counts for *_, counts in PEOPLE]
        assert [e["moved_by_limits"] for e in found] == [0.5] * 5 + [0.0, 0.5, 0.5]

    in_house(tmp_path, act)


# Of each episode: who chose the actions, the policy that knew of them, and whether it was fair and
# how many safety events it had. A policy that watches a person knows of their holds; where none
# does, they are of the person who acted before.
PEOPLE = [
    ([0, 0, 0, 0], [1, 1, 1, 1], (True, 0)),
    ([0, 3, 0, 0], [1, 1, 1, 1], (False, 0)),
    ([0, 4, 0, 0], [1, 1, 1, 1], (False, 0)),
    ([0, 4, 0, 0], [1, -1, 1, 1], (True, 1)),
    ([0, 4, 4, 0], [1, 1, -1, 1], (False, 1)),
    ([3, 4, 3, 4], [-1, -1, -1, -1], (False, 0)),  # no policy is there at all
    ([4, 3, 4, 4], [-1, -1, -1, -1], (False, 0)),
    ([0, 4, 3, 4], [1, -1, -1, -1], (False, 1)),  # the first hold was the robot's own
]


def test_the_best_versions_files_outlive_pruning(tmp_path):
    async def act(house):
        made = await running(house, tmp_path)
        home = tmp_path / "experiments" / made
        for number in (3, 12, 90):
            save(home / "checkpoints" / f"{number:012d}")
        player = Player(house, "ball-1", made)
        path = f"/experiments/{made}/evaluations"
        begun = await house.ask("POST", path, {"version": 1, "episodes": 2}, 201)
        assert begun["checkpoint"] == 12  # the version was made after 10 updates
        player.beat()
        for total in (5.0, 6.0):
            player.play(total, 1, Tag(1))
        await looked(house)
        for blob in (home / "blobs").iterdir():
            blob.unlink()
        for number in (3, 12):
            prune(home / "checkpoints" / f"{number:012d}")
        view = await house.ask("GET", f"/experiments/{made}/policies/1")
        assert (view["best"], view["available"]) == (True, True)
        assert (await house.http.get(f"/experiments/{made}/policies/1/bundle.zip")).is_success
        kept = {
            c["number"]: c["kept"] for c in await house.items(f"/experiments/{made}/checkpoints")
        }
        assert kept == {90: False, 12: True}
        await house.ask("POST", f"/experiments/{made}/stop")
        await house.ask("POST", f"/experiments/{made}/checkpoints/12/restore")
        assert (home / "checkpoints" / f"{12:012d}" / "done").exists()

    in_house(tmp_path, act)


def save(folder):
    folder.mkdir(parents=True)
    for name in ("tensors.safetensors", "state.json", "done"):
        (folder / name).write_text(name)


def prune(folder):
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_checkpoints_are_kept_by_a_second_name(tmp_path):
    assert keep_nearest(tmp_path, 5) is None
    for number in (10, 20):
        save(tmp_path / "checkpoints" / f"{number:012d}")
    assert keep_nearest(tmp_path, 15) == keep_nearest(tmp_path, 3) == 10
    prune(tmp_path / "checkpoints" / f"{10:012d}")
    assert [(c.number, c.kept) for c in list_checkpoints(tmp_path)] == [(20, False), (10, True)]
    restore(tmp_path, 10)
    assert [(c.number, c.aside) for c in list_checkpoints(tmp_path)] == [(20, True), (10, False)]
    keep_only(tmp_path, [])
    assert [c.kept for c in list_checkpoints(tmp_path)] == [False, False]


def test_the_best_is_chosen_by_its_lower_bound_and_kept_among_equals():
    assert best_of({1: 2.0, 2: 3.0}, 1) == 2
    assert best_of({1: 2.0, 2: 2.0}, 1) == 1
    assert best_of({1: None}, None) is None
    assert best_of({1: None, 2: -5.0}, 1) == 2


def test_when_an_evaluation_is_due():
    last, now = Moment(100, 1000.0, 4), Moment(150, 1600.0, 6)
    for settings, due in (
        ({}, False),
        ({"every_rows": 50}, True),
        ({"every_rows": 51}, False),
        ({"every_minutes": 10.0}, True),
        ({"every_minutes": 10.1}, False),
        ({"every_versions": 2}, True),
        ({"every_versions": 3, "every_rows": 10}, True),
    ):
        assert is_due(EvaluationSettings(**settings), last, now) is due


def test_a_robot_that_never_heard_is_asked_again():
    shares = Shares(3, ["a"])
    assert shares.ask("a", False, True, 0.0) == 3
    assert shares.ask("a", False, True, 1.0) == 0
    assert shares.ask("a", False, False, 2.0) == 3
    assert shares.ask("a", True, False, 2.1) == 0
    shares.came_back("a")
    assert shares.ask("a", False, False, 3.0) == 0
    assert shares.ask("a", False, True, 3.1) == 2
    assert shares.ask("b", False, True, 3.1) == 0
    assert shares.loose == 0
    shares.keep_only([])
    assert (shares.loose, shares.complete) == (2, False)


def test_wishes_of_an_experiment_are_copied_and_shown(tmp_path):
    async def act(house):
        wanted = {"automatic": True, "canaries": ["ball-1"], "episodes": 8}
        made = await house.create(rollout=wanted, evaluation={"every_minutes": 5.0})
        copy = await house.ask("POST", f"/experiments/{made}/duplicate", None, 201)
        assert copy["rollout"] == wanted | {
            "min_episodes": 5,
            "false_alarms": 0.05,
            "tolerance": 0.0,
        }
        assert copy["evaluation"]["every_minutes"] == 5.0
        await asyncio.sleep(0)

    in_house(tmp_path, act)


def test_after_a_restart_a_robot_finishes_what_it_had_to_play_before_it_is_asked_for_more():
    shares = Shares(4, ["a"], played=1, awaited=["a"])
    assert shares.ask("a", plays=True, delivered=True, now=0.0) == 0
    shares.came_back("a")
    assert shares.ask("a", plays=False, delivered=False, now=1.0) == 0
    shares.came_back("a")
    assert shares.ask("a", plays=False, delivered=True, now=2.0) == 1
    assert not shares.complete
