"""What the tables answer, computed by hand, on either database."""

import pytest

from server.storage import (
    Audit,
    Bucket,
    EpisodeFilter,
    EpisodeKey,
    Event,
    Mark,
    Metric,
    Pin,
    Policy,
    Robot,
    Storage,
    VersionReturns,
)
from tests.unit.test_storage import episode, experiment

ROWS = 3 * 2**31  # more than 32 bits hold


def metric(time, value, name="loss", of="e1"):
    return Metric(experiment=of, name=name, updates=int(time), rows=ROWS, time=time, value=value)


def robot(name, **changes):
    about = {"observation_space": {}, "action_space": {}, "control_hz": 20.0, "task": {}}
    where = {"experiment": None, "assigned": None, "client": "test", "seen_at": 0.0}
    return Robot(name=name, **about, **where | changes)


@pytest.fixture
def storage(database_url):
    storage = Storage(database_url)
    storage.migrate()
    storage.save([experiment(), experiment("e2")])
    yield storage
    storage.close()


def test_few_values_are_not_thinned(storage):
    storage.save([metric(2.0, 20.0), metric(1.0, 10.0), metric(3.0, 30.0), metric(1.0, 0.0, "x")])
    found = storage.metric_buckets("e1", "loss", since=1.0, until=3.0, most=2)
    assert found == [Bucket(2.0, ROWS, 2, 20, 20, 20, 1), Bucket(3.0, ROWS, 3, 30, 30, 30, 1)]


def test_many_values_are_put_in_buckets_of_equal_time(storage):
    storage.save(metric(float(t), 10.0 * t) for t in (0.5, 1, 1.9, 2, 3, 4, 5.4, 5.5))
    found = storage.metric_buckets("e1", "loss", since=0.0, until=9.0, most=3)
    assert found == [  # 0.5 to 3, and what is above
        Bucket(3.0, ROWS, 3, pytest.approx(16.8), 5.0, 30.0, 5),
        Bucket(5.5, ROWS, 5, pytest.approx(149 / 3), 40.0, 55.0, 3),
    ]
    (all_of_them,) = storage.metric_buckets("e1", "loss", since=0.0, until=9.0, most=1)
    assert (all_of_them.mean, all_of_them.values) == (pytest.approx(233 / 8), 8)


def test_values_of_one_moment_are_one_bucket(storage):
    storage.save(metric(1.0, float(v)) for v in range(4))
    assert storage.metric_buckets("e1", "loss", 0.0, 9.0, most=2) == [
        Bucket(1, ROWS, 1, 1.5, 0, 3, 4)
    ]


def test_numbers_keep_all_their_digits(storage):
    storage.save([metric(1764000000.123457, 1 / 3)])
    (found,) = storage.metrics("e1", "loss")
    assert (found.time, found.value, found.rows) == (1764000000.123457, 1 / 3, ROWS)
    storage.save([experiment(rows=2**40)])
    assert [e.rows for e in storage.experiments() if e.id == "e1"] == [2**40]


@pytest.fixture
def marked(storage):
    """Episodes 1 to 4 of return -1.5; the second is a success, the third discarded."""
    storage.save(episode(number, float(number)) for number in (1, 2, 3, 4))
    key = {"experiment": "e1", "robot": "ball-1", "epoch": "a"}
    storage.save([Mark(**key, episode=2, outcome="success", discarded=False)])
    storage.save([Mark(**key, episode=3, outcome="", discarded=True)])
    return storage


FILTERS = [
    ({}, [1, 2, 3, 4]),
    ({"robot": "ball-1", "source": "policy", "task": ""}, [1, 2, 3, 4]),
    ({"robot": "other"}, []),
    ({"outcome": "success"}, [2]),
    ({"discarded": True}, [3]),
    ({"discarded": False}, [1, 2, 4]),
    ({"since": 1.0, "until": 3.0}, [2, 3]),
    ({"min_return": -1.5, "max_return": -1.5}, [1, 2, 3, 4]),
    ({"min_return": -1.4}, []),
]


def test_episodes_are_filtered(marked):
    for wanted, numbers in FILTERS:
        found, total = marked.episode_page("e1", EpisodeFilter(**wanted), 0, 10)
        assert [e.episode for e, _ in found] == numbers, wanted
        assert total == len(numbers)


def test_episodes_come_in_pages(marked):
    found, total = marked.episode_page("e1", EpisodeFilter(), 1, 2, newest=True)
    assert [(e.episode, mark and mark.discarded) for e, mark in found] == [(3, True), (2, False)]
    assert total == 4
    key = EpisodeKey("ball-1", "a", 2)
    assert marked.episode("e1", key).ended_at == 2.0
    assert marked.mark("e1", key).outcome == "success"
    assert marked.mark("e1", EpisodeKey("ball-1", "a", 1)) is None


def test_returns_leave_out_what_was_discarded(marked):
    assert marked.version_returns("e1") == {1: VersionReturns(3, -1.5, -1.5, -1.5, 0.0)}
    found = marked.return_buckets("e1", 0.0, 9.0, most=2)
    assert [(bucket.time, bucket.values) for bucket in found] == [(4.0, 3)]


def test_a_long_export_comes_in_the_order_of_saving(storage):
    storage.save(metric(float(t), float(t), "ab"[t % 2]) for t in range(25))
    assert [m.value for m in storage.every_metric("e1", [], pause=10)] == list(range(25))
    assert [m.value for m in storage.every_metric("e1", ["b"], pause=3)] == list(range(1, 25, 2))
    assert storage.metric_names("e1") == ["a", "b"]


def test_events_and_audit_come_newest_first(storage):
    storage.save(
        Event(experiment=e, robot=r, kind=k, text="", time=0.0)
        for e, r, k in (("e1", "a", "x"), ("e1", "b", "y"), (None, "a", "y"))
    )
    assert [e.robot for e in storage.events()[0]] == ["a", "b", "a"]
    assert storage.events(kind="y", offset=1, limit=5)[1] == 2
    assert [e.robot for e in storage.events(experiment="e1", kind="y")[0]] == ["b"]
    line = {"who": "ann", "method": "GET", "outcome": "done", "status": None, "address": ""}
    storage.save(
        Audit(time=t, operation=o, parameters={o: 1}, **line) for t, o in ((1, "a"), (2, "b"))
    )
    found, total = storage.audit(limit=1)
    assert ([a.parameters for a in found], total) == ([{"b": 1}], 2)


def test_removing_takes_one_experiment_and_all_of_it(marked):
    marked.save([metric(1.0, 1.0), metric(1.0, 1.0, of="e2"), robot("r", experiment="e1")])
    marked.save([Event(experiment="e1", robot=None, kind="x", text="", time=0.0)])
    marked.save([Pin(experiment="e1", robot="", version=None)])
    marked.save([Policy(experiment="e1", version=0, updates=0, manifest={}, created_at=0.0)])
    marked.save([robot("s", assigned="e1", experiment="e2")])
    marked.remove("e1")
    marked.remove("e1")
    assert [e.id for e in marked.experiments()] == ["e2"]
    assert [(r.name, r.experiment, r.assigned) for r in marked.robots()] == [
        ("r", None, None),
        ("s", "e2", None),
    ]
    assert (marked.events()[1], marked.pins(), marked.count_policies("e1")) == (0, [], 0)
    assert marked.latest_metrics("e2") == {"loss": 1.0}
