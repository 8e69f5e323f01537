"""Episodes of many kinds for the tests of datasets, and a store to put them in."""

from __future__ import annotations

import shutil

import numpy as np
from gymnasium import spaces

from robot_client.schema import row_fields, space_to_json
from server.datasets.episodes import About, EpisodeStore, Recorded, ReplayEpisodes
from server.datasets.export import Export, export
from server.datasets.manifest import FILE
from server.datasets.shelf import import_dataset
from server.replay.store import ReplayStore

VECTOR = spaces.Dict({"obs": spaces.Box(-1, 1, (3,), np.float32)})
MIXED = spaces.Dict(
    {
        "pose": spaces.Box(-1, 1, (3,), np.float32),
        "arm/angle": spaces.Box(-1, 1, (1,), np.float32),
        "range": spaces.Box(0, 9, (), np.float32),
        "room": spaces.Discrete(5),
        "map": spaces.Box(-1, 1, (2, 3), np.float32),
        "bytes": spaces.Box(0, 255, (4,), np.uint8),
        "camera": spaces.Box(0, 255, (16, 18, 3), np.uint8),
        "grey": spaces.Box(0, 255, (8, 8, 1), np.uint8),
    }
)
CAMERA = spaces.Dict({"camera": spaces.Box(0, 255, (16, 18, 3), np.uint8)})
BOX, DISCRETE = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3)
KINDS = {
    "vector": About(VECTOR, BOX, 20.0),
    "mixed": About(MIXED, DISCRETE, 2.5),
    "camera": About(CAMERA, BOX, 50.0),
}


def columns_of(about, rows, ends="last", seed=0):
    """Random rows: `ends` is last, terminal or cut; the first row has a reward, too."""
    rng = np.random.default_rng(seed)
    about.observation_space.seed(seed)
    about.action_space.seed(seed)
    observed = [about.observation_space.sample() for _ in range(rows)]
    columns = {k: np.stack([o[k] for o in observed]) for k in about.observation_space}
    action = np.stack([np.asarray(about.action_space.sample()) for _ in range(rows)])
    last = np.arange(rows) == rows - 1
    is_last = last & (ends != "cut")
    action[is_last] = 0
    return columns | {
        "action": action,
        "action_requested": np.roll(action, 1, 0),
        "reward": rng.normal(size=rows).astype(np.float32),
        "is_first": np.arange(rows) == 0,
        "is_last": is_last,
        "is_terminal": last & (ends == "terminal"),
        "policy_version": rng.integers(-1, 9, rows),
        "source": rng.integers(0, 5, rows).astype(np.uint8),
        "time_monotonic": rng.normal(100, 1, rows).cumsum(),
        "time_wall": 1.7e9 + rng.normal(100, 1, rows).cumsum(),
    }


def episodes_of(about):
    """Two robots with several tasks, all kinds of ends, and a robot's epoch that begins anew."""
    plan = [
        ("ball-1", "a", 0, "roll", 70, "last"),
        ("ball-2", "a", 3, "jump", 5, "terminal"),
        ("ball-1", "a", 2, "jump", 2, "terminal"),
        ("ball-1", "b", 0, "", 9, "last"),
        ("ball-2", "a", 4, "roll", 6, "cut"),
    ]
    return [
        Recorded(robot, epoch, number, task, columns_of(about, rows, ends, seed))
        for seed, (robot, epoch, number, task, rows, ends) in enumerate(plan)
    ]


def stored(folder, about, episodes):
    """A replay store in `folder` with these episodes; closed."""
    store = ReplayStore(folder)
    try:
        target = EpisodeStore(store, row_fields(about.observation_space, about.action_space))
        for episode in episodes:
            target.add(episode)
        target.flush()
    finally:
        store.close()
    return folder


def read_all(folder):
    """The episodes of a store."""
    store = ReplayStore(folder, readonly=True)
    try:
        found = ReplayEpisodes(store)
        return [found.read(place) for place in found.places]
    finally:
        store.close()


def exported(replay, out, about, format_name, **more):
    """What exporting a store says; the export is in `out`."""
    wanted = Export(
        experiment="e1",
        title="a test",
        replay=replay,
        out=out,
        format=format_name,
        observation_space=space_to_json(about.observation_space),
        action_space=space_to_json(about.action_space),
        control_hz=about.control_hz,
        **more,
    )
    return export(wanted, quiet)


def quiet(done, total):
    """Progress that nobody looks at."""
    assert 0 < done <= total


def same(left, right):
    """Whether two episodes are the same, bit for bit."""
    who = [(e.robot, e.epoch, e.number, e.task, sorted(e.columns)) for e in (left, right)]
    return who[0] == who[1] and all(
        column.dtype == right.columns[name].dtype and np.array_equal(column, right.columns[name])
        for name, column in left.columns.items()
    )


def imported(folder, home, name="demos", like=None):
    """The dataset that importing a folder makes."""
    home.mkdir(exist_ok=True)
    return import_dataset(folder, home, name, like, 1000.0, quiet)


def one(tmp_path, about, format_name, **more):
    """The episodes, and an export of them."""
    episodes = episodes_of(about)
    replay = stored(tmp_path / "replay", about, episodes)
    summary = exported(replay, tmp_path / "out", about, format_name, **more)
    return episodes, tmp_path / "out", summary


def foreign(out):
    """An export as if another had made it."""
    (out / FILE).unlink()
    shutil.rmtree(out / "dreamfleet", ignore_errors=True)
    return out
