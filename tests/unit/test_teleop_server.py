"""Driving from afar, as the server sees it: leases, the socket, roles, and what is counted."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from robot_client.clock import ManualClock
from robot_client.schema import Chunk, Source, space_to_json
from server.access import Tokens
from server.errors import Conflict
from server.human_share import HumanShare
from server.prometheus import exposition
from server.teleop import LEASE_S, Helm
from tests.unit.house import in_house, open_house
from tests.unit.replay_rows import rows
from tests.unit.sockets import Closed, connected
from tests.unit.test_gate import when_closed

BOX = space_to_json(spaces.Box(-2, 2, (2,), np.float32))
PATH = "/robots/ball-1/teleop"


class Fleet:
    """Connected robots, and what has been passed on to them."""

    def __init__(self) -> None:
        self.passed = []

    def sessions(self):
        return [type("Session", (), {"robot": name}) for name in ("ball-1", "ball-2")]

    def drive(self, robot, message):
        self.passed.append((robot, message))


def helm():
    fleet, clock = Fleet(), ManualClock(100.0)
    return Helm(fleet, clock), fleet, clock


def test_a_window_takes_a_robot_from_another_of_the_same_person_without_a_word_to_the_robot():
    leases, fleet, _ = helm()
    old = leases.take("ball-1", "ann")
    leases.drive(old, True, None, 1.0)
    told = len(fleet.passed)
    with pytest.raises(Conflict):
        leases.take("ball-1", "bob", instead=True)
    new = leases.take("ball-1", "ann", instead=True)
    assert len(fleet.passed) == told
    assert leases.check("ball-1", "ann", new.secret) is new
    with pytest.raises(Conflict):
        leases.check("ball-1", "ann", old.secret)


def test_one_person_at_a_time_and_the_others_are_told_who():
    leases, _, _ = helm()
    lease = leases.take("ball-1", "ann")
    with pytest.raises(Conflict, match="ann drives robot ball-1"):
        leases.take("ball-1", "bob")
    with pytest.raises(Conflict, match="ann drives"):
        leases.take("ball-1", "ann")  # in another window
    assert leases.check("ball-1", "ann", lease.secret) is lease
    for who, secret in (("bob", lease.secret), ("ann", "another"), ("ann", "ä")):
        with pytest.raises(Conflict, match="ann drives"):
            leases.check("ball-1", who, secret)
    assert leases.take("ball-2", "bob").holder == "bob"
    leases.release(lease)
    assert leases.take("ball-1", "bob").holder == "bob"


def test_a_lease_that_is_not_used_is_over():
    leases, _, clock = helm()
    lease = leases.take("ball-1", "ann")
    clock.advance(LEASE_S)
    leases.drive(leases.check("ball-1", "ann", lease.secret), False, None, 1.0)
    clock.advance(LEASE_S + 0.1)
    with pytest.raises(Conflict, match="nobody has the lease"):
        leases.check("ball-1", "ann", lease.secret)
    assert leases.take("ball-1", "bob").holder == "bob"


def test_only_a_connected_robot_can_be_driven():
    with pytest.raises(Conflict, match="not connected"):
        helm()[0].take("ball-3", "ann")


def test_each_engagement_is_a_turn_of_its_own():
    leases, fleet, _ = helm()
    lease = leases.take("ball-1", "ann")
    action = np.zeros(2, np.float32)
    for sent, engaged in enumerate((False, True, True, False, True)):
        leases.drive(lease, engaged, action if engaged else None, float(sent))
    leases.drive(lease, True, None, 5.0)
    leases.release(lease)
    passed = [message for _, message in fleet.passed]
    assert [m.wish for m in passed] == ["end", "act", "act", "end", "act", "hold", "end"]
    assert [m.turn for m in passed] == [0, 1, 1, 1, 2, 2, 2]
    assert [m.sent for m in passed] == [0, 1, 2, 3, 4, 5, 5]
    assert {m.lease for m in passed} == {lease.id}
    assert lease.secret not in repr(passed)


@given(st.lists(st.booleans(), max_size=30))
def test_two_people_never_have_a_robot_at_once(tries):
    leases, _, clock = helm()
    holder = None
    for i, gives_back in enumerate(tries):
        clock.advance(1.0)
        if holder and gives_back:
            leases.release(holder)
            holder = None
        try:
            lease = leases.take("ball-1", f"person {i}")
        except Conflict:
            assert holder is not None
            leases.drive(holder, True, None, float(i))
        else:
            assert holder is None
            holder = lease


def join_box(house, robot="ball-1"):
    house.join(robot, action=BOX)


async def begin(house):
    made = await house.create()
    await house.ask("POST", f"/experiments/{made}/start")
    join_box(house)
    return made


def test_a_person_takes_a_robot_drives_it_and_gives_it_back(tmp_path):
    async def act(house):
        await begin(house)
        app = house.http._transport.app
        before = await house.ask("GET", PATH)
        assert (before["holder"], before["driver"], before["keys"]["w"]) == (None, "", "+ action 0")
        lease = await house.ask("PUT", PATH)
        assert (lease["holder"], lease["lease_s"]) == ("loopback", LEASE_S)
        problem = await house.ask("PUT", PATH, status=409)
        assert problem["detail"] == "loopback drives robot ball-1"
        about = {"secret": lease["secret"], "engaged": True}
        async with connected(app, f"{PATH}/input") as socket:
            answers = [
                await socket.ask(sent=0.5, secret=lease["secret"], engaged=False),
                await socket.ask(sent=1.0, action=[0.5, -9], **about),
                await socket.ask(sent=1.1, axes=[1.0, 0.0], keys=["ArrowRight"], **about),
                await socket.ask(sent=1.2, wish="hold", **about),
            ]
        assert [a["action"] for a in answers] == [None, [0.5, -9.0], [2.0, -2.0], None]
        assert answers[1] == {
            "sent": 1.0, "driver": "", "safety": "fresh", "reason": "", "action": [0.5, -9.0],
        }  # fmt: skip
        passed = [message for _, message in house.fleet.driven]
        assert [m.wish for m in passed] == ["end", "act", "act", "hold"]  # a closed socket: silence
        assert passed[1].columns["action"].dtype == np.float32
        assert passed[1].driver == "loopback"
        await house.ask("DELETE", f"{PATH}?secret={lease['secret']}")
        assert house.fleet.driven[-1][1].wish == "end"
        assert (await house.ask("GET", PATH))["holder"] is None
        audit = (await house.ask("GET", "/audit"))["items"]
        done = [line["operation"] for line in audit if line["outcome"] == "done"]
        for operation in ("take_teleop", "release_teleop"):
            assert any(operation in line for line in done), done
        assert any(line["method"] == "WEBSOCKET" for line in audit)

    in_house(tmp_path, act)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"secret": "another"}, "loopback drives robot ball-1"),
        ({"action": [1.0]}, "action"),
        ({"action": [1.0, float("nan")]}, "action"),
        ({"sent": "soon"}, "sent"),
        ({"more": 1}, "more"),
    ],
)
def test_what_is_wrong_closes_the_socket_with_the_reason(tmp_path, change, why):
    async def act(house):
        await begin(house)
        app = house.http._transport.app
        lease = await house.ask("PUT", PATH)
        given = {"secret": lease["secret"], "sent": 1.0, "engaged": True, "action": [0.5, 0.5]}
        async with connected(app, f"{PATH}/input") as socket:
            with pytest.raises(Closed) as closed:
                await socket.ask(**given | change)
        code, reason = closed.value.args
        assert code == 1008
        assert why in reason
        assert house.fleet.driven == []

    in_house(tmp_path, act)


def test_a_robot_that_goes_away_closes_the_socket(tmp_path):
    async def act(house):
        await begin(house)
        lease = await house.ask("PUT", PATH)
        house.fleet.let_go("ball-1")
        async with connected(house.http._transport.app, f"{PATH}/input") as socket:
            with pytest.raises(Closed, match="not connected"):
                await socket.ask(secret=lease["secret"], sent=1.0, engaged=True, wish="hold")
        await house.ask("PUT", "/robots/nobody/teleop", status=404)
        await house.ask("GET", "/robots/nobody/teleop", status=404)
        await house.ask("DELETE", f"{PATH}?secret=x", status=409)
        assert (await house.ask("DELETE", PATH))["holder"] is None  # from another window
        await house.ask("DELETE", f"{PATH}?secret=x")  # nobody has it

    in_house(tmp_path, act)


def test_viewers_strangers_and_other_pages_drive_nothing(tmp_path):
    async def act(closed):
        app = closed.house.http._transport.app
        assert await closed.status(closed.viewer, "PUT", PATH) == 403
        assert await closed.status(None, "PUT", PATH) == 401
        operator = {"Authorization": f"Bearer {closed.operator}"}
        for headers in (
            {},
            {"Authorization": f"Bearer {closed.viewer}"},
            operator | {"Origin": "https://elsewhere.example", "Host": "here"},
        ):
            with pytest.raises(Closed):
                async with connected(app, f"{PATH}/input", **headers):
                    pass

    when_closed(tmp_path, act)


def test_a_token_that_is_revoked_ends_the_drive(tmp_path, monkeypatch):
    monkeypatch.setattr("server.api.teleop._CHECK_S", -1.0)

    async def run():
        tokens = Tokens(tmp_path)
        _, text = tokens.create("ann", "operator", "test")
        async with open_house(tmp_path) as house:
            house.http.headers["Authorization"] = f"Bearer {text}"
            await begin(house)
            lease = await house.ask("PUT", PATH)
            given = {"secret": lease["secret"], "engaged": True, "wish": "hold"}
            authorised = {"Authorization": f"Bearer {text}"}
            app = house.http._transport.app
            async with connected(app, f"{PATH}/input", **authorised) as socket:
                await socket.ask(sent=1.0, **given)
                assert house.fleet.driven[-1][1].driver == "ann"
                tokens.revoke("ann", "test")
                with pytest.raises(Closed, match="revoked"):
                    await socket.ask(sent=1.1, **given)

    asyncio.run(run())


SOURCES = st.lists(st.sampled_from(list(Source)), max_size=40)


@given(SOURCES, st.lists(st.integers(0, 40), max_size=4))
def test_human_steps_are_counted_the_same_however_rows_are_cut(sources, cuts):
    whole, parts = HumanShare(), HumanShare()
    column = np.array(sources, np.uint8)
    whole.add(column)
    for part in np.split(column, sorted(min(cut, len(column)) for cut in cuts)):
        parts.add(part)
    assert parts == whole
    assert whole.human_steps == sources.count(Source.HUMAN)
    assert whole.steps == len(sources)


def test_a_hold_does_not_end_an_intervention():
    share = HumanShare()
    h, p, o = Source.HUMAN, Source.POLICY, Source.HOLD
    share.add(np.array([p, h, o, h, p, o, h, h, o, p, h], np.uint8))
    assert (share.human_steps, share.interventions) == (5, 3)


def driven_chunk(episode, sources):
    columns = rows(episode, 0, len(sources) + 1, last=True)
    columns["source"] = np.array([*sources, 0], np.uint8)
    return Chunk("a", episode, 0, columns)


def test_people_count_in_episodes_metrics_and_prometheus(tmp_path):
    async def act(house):
        made = await begin(house)
        for episode, sources in enumerate(([0, 3, 3, 0], [0, 0, 0, 0], [3, 4, 3, 0])):
            chunk = driven_chunk(episode, sources)
            house.experiments.stored("ball-1", made, chunk)
        found = await house.items(f"/experiments/{made}/episodes")
        assert [(e["human_steps"], e["interventions"]) for e in found] == [(2, 1), (0, 0), (2, 1)]
        series = (
            await house.ask(
                "GET",
                f"/metrics?experiment={made}&name=human_share&name=interventions"
                "&name=episode_return",
            )
        )["series"]
        assert len(series["episode_return"]["value"]) == 1  # the one that was the policy's alone
        assert series["human_share"]["value"] == [0.5, 0.0, 0.5]
        assert series["interventions"]["value"] == [1, 0, 1]
        assert "human_share" in await house.ask("GET", f"/metrics/names?experiment={made}")
        text = exposition(house.experiments, house.fleet)[0].decode()
        labels = f'{{experiment="{made}",robot="ball-1"}}'
        for line in ("human_steps_total", "interventions_total", "steps_total", "driven"):
            assert f"dreamfleet_robot_{line}{labels}" in text
        assert f"dreamfleet_robot_human_steps_total{labels} 4.0" in text

    in_house(tmp_path, act)
