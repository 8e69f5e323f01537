"""`dreamfleet doctor`: what it finds where all is well, and where something is broken."""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from robot_client import keys
from server import doctor
from server.access import RobotKeys, Tokens, make_server_pair
from server.cli import app
from server.doctor import database, doors, files, learner, network, stores, versions
from server.settings import Settings
from server.storage import Storage
from server.storage.inspection import inspect
from tests.unit.dataset_rows import KINDS, episodes_of, stored

LOCAL = {"port": 0, "gateway": "ipc:///tmp/none"}


def levels(findings):
    return [finding.level for finding in findings]


def snapshot(folder):
    return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*"))


def lived_in(tmp_path):
    """A data directory after some use; returns its replay."""
    storage = Storage(Settings(tmp_path).database_url)
    storage.migrate()
    storage.close()
    Tokens(tmp_path).create("ann", "operator", "test")
    RobotKeys(tmp_path).enrol("arm", keys.generate().public, "test")
    make_server_pair(tmp_path)
    about = KINDS["vector"]
    folder = tmp_path / "experiments" / "e1"
    folder.mkdir(parents=True)
    return stored(folder / "replay", about, episodes_of(about))


def test_a_healthy_place_is_fine_and_nothing_is_changed(tmp_path, monkeypatch):
    lived_in(tmp_path)
    storage = Storage(Settings(tmp_path).database_url)
    storage.close()
    before = {path for path, *_ in snapshot(tmp_path)}
    monkeypatch.setenv("COLUMNS", "200")
    where = ["doctor", "--data", str(tmp_path), "--port", "0", "--gateway", "ipc:///tmp/none"]
    done = CliRunner().invoke(app, [*where, "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert {f["level"] for f in found} == {"OK"}, found
    assert {f["check"] for f in found} >= set(doctor.CHECKS) - {"ports"}
    after = {path for path, *_ in snapshot(tmp_path)}
    assert {path for path in after - before if "sqlite-" not in path} == set()


def test_a_broken_place_says_what_to_do_and_ends_with_1(tmp_path, monkeypatch):
    monkeypatch.setitem(doctor.CHECKS, "learner", lambda settings: iter(()))
    (tmp_path / "experiments/e1/replay").mkdir(parents=True)
    (tmp_path / "dreamfleet.sqlite").write_bytes(b"no database" * 1000)
    done = CliRunner().invoke(app, ["doctor", "--data", str(tmp_path), "--host", "0.0.0.0"])
    assert done.exit_code == 1
    assert "FAIL  replay: e1: cannot be read" in done.stdout
    assert "FAIL  database" in done.stdout
    assert "FAIL  access" in done.stdout
    assert "-> dreamfleet tokens create NAME --role operator" in done.stdout


def test_secrets_that_others_may_read_are_found(tmp_path):
    lived_in(tmp_path)
    assert set(levels(files.check(Settings(tmp_path)))) == {"OK"}
    (tmp_path / "keys/server.key").chmod(0o640)
    (wrong,) = [f for f in files.check(Settings(tmp_path)) if f.level == "FAIL"]
    assert wrong.advice == f"chmod 600 {tmp_path / 'keys/server.key'}"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_found(tmp_path):
    tmp_path.chmod(0o500)
    (found,) = files.check(Settings(tmp_path))
    tmp_path.chmod(0o700)
    assert found.level == "FAIL"


def test_a_full_disk_is_found(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    for free, level in ((2**28, "FAIL"), (2**31, "WARN"), (2**40, "OK")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, f=free: usage._replace(free=f))
        assert levels(files.check(Settings(tmp_path))) == [level]


def test_tables_of_another_version_are_found_and_left_as_they_are(tmp_path):
    settings = Settings(tmp_path)
    assert levels(database.check(settings)) == ["OK"]
    assert not (tmp_path / "dreamfleet.sqlite").exists()
    lived_in(tmp_path)
    assert levels(database.check(settings)) == ["OK", "OK"]
    for version, level in (("0002", "WARN"), ("9999", "FAIL")):
        with sqlite3.connect(tmp_path / "dreamfleet.sqlite") as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.close()
        assert next(database.check(settings)).level == level
        assert inspect(settings.database_url).current == version


def test_a_replay_whose_counts_do_not_agree_is_found(tmp_path, monkeypatch):
    replay = lived_in(tmp_path)
    (found,) = stores.check(Settings(tmp_path))
    assert (found.level, found.text) == ("OK", "e1: 92 rows in 3 streams")
    monkeypatch.setattr(stores, "_counts", lambda path: (90, 3, 92))
    (found,) = stores.check(Settings(tmp_path))
    assert (found.level, found.text) == ("FAIL", "e1: 90 rows in 3 streams, which say 92")
    monkeypatch.undo()
    (replay / "data.mdb").write_bytes(b"\0" * 8192)
    assert levels(stores.check(Settings(tmp_path))) == ["FAIL"]


def test_a_port_that_somebody_else_has_is_found(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(tmp_path, port=0, gateway=f"tcp://127.0.0.1:{port}")
        found = list(network.check(settings))
    assert levels(found) == ["OK", "FAIL"]
    assert "--gateway" in found[1].advice


def test_a_server_that_answers_is_found(tmp_path, monkeypatch):
    from tests.unit.test_server_cli import server

    with server(tmp_path) as (_, address):
        port = int(address.rpartition(":")[2])
        settings = Settings(tmp_path, port=port)
        (found,) = network.check(settings)
        assert f"answers at {address}" in found.text
        assert levels(versions.check_clock(settings)) == ["OK"]
        assert levels(versions.check(settings)) == ["OK"]
        monkeypatch.setattr(versions, "version", lambda _: "9.9")
        assert levels(versions.check(settings)) == ["OK", "WARN"]


def test_a_clock_that_contradicts_the_data_is_found(tmp_path):
    database_file = tmp_path / "dreamfleet.sqlite"
    database_file.touch()
    assert levels(versions.check_clock(Settings(tmp_path, **LOCAL))) == ["OK"]
    os.utime(database_file, (4e9, 4e9))
    assert levels(versions.check_clock(Settings(tmp_path, **LOCAL))) == ["WARN"]


def certificate(folder, days):
    key, made = folder / "key.pem", folder / f"{days}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    command += ["-keyout", str(key), "-out", str(made), "-days", str(days)]
    subprocess.run(command, check=True, capture_output=True)
    return Settings(tls_key=key, tls_certificate=made)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_a_certificate_that_ends_is_found(tmp_path):
    for days, level in ((400, "OK"), (9, "WARN"), (-1, "FAIL")):
        if days < 0 and shutil.which("openssl"):
            continue  # openssl 3.0 makes none that has expired
        (found,) = doors.check_certificate(certificate(tmp_path, days))
        assert found.level == level, found
    assert "valid for 8 more days" in found.text or "valid for 9 more days" in found.text
    other = certificate(tmp_path, 5)
    mixed = Settings(tls_key=tmp_path / "key.pem", tls_certificate=tmp_path / "400.pem")
    (found,) = doors.check_certificate(mixed)
    assert (found.level, other.tls_key) == ("FAIL", mixed.tls_key)
    assert levels(doors.check_certificate(Settings(host="0.0.0.0"))) == ["WARN"]


def test_a_machine_without_torch_is_found(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (found,) = learner.check(Settings())
    assert (found.level, found.advice) == ("FAIL", "pip install 'dreamfleet[learner]'")
    assert "no torch here" in found.text
    assert learner._device({"gpus": []}, has_nvidia=True).level == "WARN"
    assert learner._device({"gpus": ["H200"]}, has_nvidia=True).level == "OK"
    assert sys.executable
