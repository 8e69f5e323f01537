"""What is said of a learner that is not there, or that has nothing to do yet."""

from server import checkpoint_files
from server.commands.experiments import COLUMNS
from server.supervisor import Status
from server.waits import waits_for
from tests.unit.house import in_house
from tests.unit.test_evaluations import Player


def whole(house, experiment, number):
    """A checkpoint as `server.checkpoint` leaves it, as far as its name goes."""
    folder = house.service.settings.experiment_dir(experiment) / f"checkpoints/{number:012d}"
    folder.mkdir(parents=True)
    (folder / "done").touch()


def test_a_stopped_experiment_remembers_its_updates_after_a_restart_too(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        await house.until(made, lambda view: view["learner"]["updates"] == 6)
        stopped = await house.ask("POST", f"/experiments/{made}/stop")
        for number in (4, 6):
            whole(house, made, number)
        return made, stopped["learner"]

    made, learner = in_house(tmp_path, act)
    assert (learner["state"], learner["updates"]) == ("none", 6)

    async def again(house):
        first = (await house.ask("GET", f"/experiments/{made}"))["learner"]
        await house.experiments.restore(made, 4)
        return first, (await house.ask("GET", f"/experiments/{made}"))["learner"]

    first, restored = in_house(tmp_path, again)
    assert (first["updates"], restored["updates"]) == (6, 4)


def test_half_a_checkpoint_and_one_put_aside_are_not_gone_on_from(tmp_path):
    for name in ("000000000003", "aside-000000000009", ".000000000008.part"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "done").touch()
    (tmp_path / "checkpoints/000000000007").mkdir()
    assert checkpoint_files.newest(tmp_path) == 3
    assert checkpoint_files.newest(tmp_path / "nowhere") == 0


def test_what_a_learner_waits_for_is_said(tmp_path):
    async def act(house):
        made = await house.create(min_rows=1000)
        await house.ask("POST", f"/experiments/{made}/start")
        nobody = await house.ask("GET", f"/experiments/{made}")
        Player(house, "ball-1", made).play(1.0, 0)
        few = await house.ask("GET", f"/experiments/{made}")
        experiment = house.experiments.get(made)
        assert not waits_for(experiment, Status("running", updates=1))
        assert not waits_for(experiment, Status("running", learns=False))
        return nobody, few

    nobody, few = in_house(tmp_path, act, "mute")
    assert nobody["learner"]["waits"] == "waits for its first robot"
    assert few["learner"]["waits"] == "waits for 1,000 rows before the first update (has 3)"
    assert COLUMNS["learner"](few).endswith("(has 3)")
