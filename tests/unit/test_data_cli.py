"""`dreamfleet data` and experiments with demonstrations, against a real server."""

import json

from server.cli import app
from server.datasets.manifest import read_manifest
from server.errors import ServerError
from tests.unit.dataset_rows import KINDS, episodes_of, exported, stored
from tests.unit.test_server_cli import ask, runner, server

ABOUT = KINDS["camera"]


def test_a_dataset_goes_in_begins_an_experiment_and_comes_out_again(tmp_path):
    replay = stored(tmp_path / "r", ABOUT, episodes_of(ABOUT))
    exported(replay, tmp_path / "first", ABOUT, "lerobot")
    (tmp_path / "data").mkdir()
    with server(tmp_path / "data") as (_, address):
        made = ask(address, "data", "import", str(tmp_path / "first"), "--name", "demos")
        assert (made["episodes"], made["rows"]) == (5, 92)
        assert ask(address, "data", "list") == [made]
        assert ask(address, "data", "verify", "demos")["problems"] == []
        new = ["create", "x", "--agent", "random", "--demonstrations", "demos"]
        experiment = ask(address, "experiments", *new)
        assert experiment["rows"] == 92
        options = ["--format", "minari", "--out", str(tmp_path / "again"), "--episodes", "1-3"]
        told = ask(address, "data", "export", experiment["id"], *options)
        assert (told["episodes"], told["out"]) == (3, str(tmp_path / "again"))
        manifest = read_manifest(tmp_path / "again")
        assert [e.robot for e in manifest.episodes] == [
            "import:demos:ball-2",
            "import:demos:ball-1",
            "import:demos:ball-1",
        ]
        show = runner.invoke(app, ["data", "list", "--server", address])
        assert "demos" in show.stdout
        again = runner.invoke(
            app, ["data", "export", experiment["id"], *options, "--server", address]
        )
        assert again.exit_code == 2
        missing = runner.invoke(app, ["data", "verify", "none", "--server", address])
        assert isinstance(missing.exception, ServerError)
        assert str(missing.exception) == "no dataset 'none'"
        assert (
            runner.invoke(app, ["data", "delete", "demos", "--yes", "--server", address]).exit_code
            == 0
        )
        assert ask(address, "data", "list") == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "data", "first", "r"]
    assert list((tmp_path / "data/exports").iterdir()) == []


def test_what_is_wrong_is_said_before_anything_is_sent(tmp_path):
    (tmp_path / "x").write_text("")
    asked = ["data", "import", str(tmp_path), "--name", "n"]
    result = runner.invoke(app, asked)
    assert result.exit_code == 2
    assert "meta/info.json" in result.output
    (tmp_path / "metadata.json").write_text(json.dumps({}))
    result = runner.invoke(app, [*asked, "--server", "http://127.0.0.1:9"])
    assert "start one: dreamfleet serve" in str(result.exception)
