"""Keys and tokens on the disk: for one owner, shared by processes, kept for good."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from robot_client import keys
from robot_client.clock import ManualClock
from server.access import (
    Guard,
    RobotKeys,
    Tokens,
    curve_of,
    make_server_pair,
    refuse_open_doors,
    server_pair,
)
from server.access.guard import ATTEMPTS, WINDOW_S
from server.access.register import Entry, Register
from server.errors import (
    AccessError,
    Conflict,
    Invalid,
    NotFound,
    SettingsError,
    TooManyAttempts,
    Unauthorized,
)
from server.service import run_service
from server.settings import Settings

OLD, NEW, OTHER = (keys.generate().public for _ in range(3))


def test_what_is_enrolled_is_known_to_who_opens_the_folder_later(tmp_path: Path) -> None:
    make_server_pair(tmp_path)
    RobotKeys(tmp_path).enrol("arm", OLD, "ann")
    _, text = Tokens(tmp_path).create("ann", "operator", "loopback")
    assert RobotKeys(tmp_path).name_of(OLD) == "arm"
    assert RobotKeys(tmp_path).name_of(NEW) is None
    found = Tokens(tmp_path).check(text)
    assert found is not None
    assert (found.name, found.role, found.added_by) == ("ann", "operator", "loopback")
    assert make_server_pair(tmp_path) == server_pair(tmp_path)


def test_files_are_their_owners_only_and_hold_hashes_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        make_server_pair(tmp_path)
        robots, tokens = RobotKeys(tmp_path), Tokens(tmp_path)
        robots.enrol("arm", OLD, "ann")
        robots.note_use(OLD)
        _, text = tokens.create("ann", "operator", "loopback")
        tokens.check(text)
    finally:
        os.umask(previous)
    folder = tmp_path / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = ["server.key", "robots.json", "robots.uses.json", "tokens.json", "tokens.uses.json"]
    for name in names:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    secret = text.split("_", 2)[2]
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert secret.encode() not in everything
    assert len(secret) == 43  # 32 bytes in base 64


def test_two_that_are_open_see_what_the_other_changes_at_once(tmp_path: Path) -> None:
    one, two = RobotKeys(tmp_path), RobotKeys(tmp_path)
    for number in range(50):  # faster than a file system's clock may tick, on two inodes in turn
        key = keys.generate().public
        one.enrol(f"r{number}", key, "ann")
        assert two.name_of(key) == f"r{number}"
        two.revoke(f"r{number}", "bob")
        assert one.name_of(key) is None


class Flag(Entry):
    value: int


def test_a_change_is_seen_though_the_file_systems_clock_stands_still(tmp_path, monkeypatch) -> None:
    def write(path: Path, data: bytes, mode: int) -> None:
        path.write_bytes(data)  # the same inode, the same size, the same time
        os.utime(path, ns=(10**9, 10**9))

    monkeypatch.setattr("server.access.register.write_durably", write)
    one, two = (Register(tmp_path / "keys" / "flags.json", Flag) for _ in range(2))
    for value in range(5):
        with one.changing() as entries:
            entries["flag"] = Flag(value=value)
        assert two.entries()["flag"].value == value


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    def enrol(number: int) -> None:
        RobotKeys(tmp_path).enrol(f"r{number}", keys.generate().public, "ann")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enrol, range(40)))
    assert {key.robot for key in RobotKeys(tmp_path).all()} == {f"r{i}" for i in range(40)}


def test_a_rotation_overlaps_and_a_revocation_does_not(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    robots = RobotKeys(tmp_path, clock)
    robots.enrol("arm", OLD, "ann")
    robots.rotate("arm", NEW, "ann", overlap_s=60)
    assert (robots.name_of(OLD), robots.name_of(NEW)) == ("arm", "arm")
    clock.advance(59.5)
    assert robots.name_of(OLD) == "arm"
    clock.advance(1.0)
    assert (robots.name_of(OLD), robots.name_of(NEW)) == (None, "arm")
    robots.revoke("arm", "bob", NEW)
    assert robots.name_of(NEW) is None
    assert [(k.until, k.revoked_by) for k in robots.all()] == [(1060.0, None), (1060.5, "bob")]


def test_a_second_rotation_does_not_lengthen_the_life_of_the_first_key(tmp_path: Path) -> None:
    clock = ManualClock()
    robots = RobotKeys(tmp_path, clock)
    robots.enrol("arm", OLD, "ann")
    robots.rotate("arm", NEW, "ann", overlap_s=10)
    robots.rotate("arm", OTHER, "ann", overlap_s=100)
    assert [key.until for key in robots.all()] == [10, 100, None]


def test_what_cannot_be_enrolled_says_why_and_changes_nothing(tmp_path: Path) -> None:
    robots = RobotKeys(tmp_path)
    robots.enrol("arm", OLD, "ann")
    before = (tmp_path / "keys" / "robots.json").read_bytes()
    for wrong in ("", "x" * 39, "#" * 40, "é" * 40, OLD + "x", " " * 40):
        with pytest.raises(Invalid, match="key: expected 40 characters"):
            robots.enrol("leg", wrong, "ann")
    with pytest.raises(Invalid, match="robot"):
        robots.enrol("leg\n", NEW, "ann")
    with pytest.raises(Conflict, match="keys rotate"):
        robots.enrol("arm", NEW, "ann")
    with pytest.raises(Conflict, match="before"):
        robots.enrol("leg", OLD, "ann")
    for verb in (lambda: robots.rotate("leg", NEW, "ann"), lambda: robots.revoke("leg", "ann")):
        with pytest.raises(NotFound, match="leg"):
            verb()
    assert (tmp_path / "keys" / "robots.json").read_bytes() == before


def test_a_revoked_key_never_comes_back_but_its_robot_may(tmp_path: Path) -> None:
    robots = RobotKeys(tmp_path)
    robots.enrol("arm", OLD, "ann")
    robots.revoke("arm", "ann")
    with pytest.raises(Conflict, match="--replace"):
        robots.enrol("arm", OLD, "ann")
    robots.enrol("arm", NEW, "ann")
    assert (robots.name_of(OLD), robots.name_of(NEW)) == (None, "arm")


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"x": {"robot": "arm"}}', '{"x": 1}'])
def test_a_damaged_file_lets_nobody_in_and_is_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys" / "robots.json"
    robots = RobotKeys(tmp_path)
    robots.enrol("arm", OLD, "ann")
    path.write_text(content)
    for act in (lambda: robots.name_of(OLD), lambda: robots.enrol("leg", NEW, "ann")):
        with pytest.raises(AccessError, match=r"robots\.json"):
            act()
    assert path.read_text() == content


def test_without_its_own_key_the_server_does_not_fall_back_to_open(tmp_path: Path) -> None:
    assert curve_of(tmp_path) is None
    make_server_pair(tmp_path)
    assert curve_of(tmp_path) is None
    first = curve_of(tmp_path, locked=True)
    assert first is not None
    assert first.robot_of(OLD) is None
    RobotKeys(tmp_path).enrol("arm", OLD, "ann")
    assert first.robot_of(OLD) == "arm"
    curve = curve_of(tmp_path)
    assert curve is not None
    assert curve.secret.decode() not in repr(curve)
    (tmp_path / "keys" / "server.key").unlink()
    with pytest.raises(AccessError, match="missing"):
        curve_of(tmp_path)


def test_tokens_end_and_names_are_free_again(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    with pytest.raises(Conflict, match="first token"):
        tokens.create("eve", "viewer", "loopback")
    _, first = tokens.create("ann", "operator", "loopback")
    with pytest.raises(Conflict, match="revoke it first"):
        tokens.create("ann", "viewer", "ann")
    with pytest.raises(Invalid, match="name"):
        tokens.create("", "viewer", "ann")
    tokens.revoke("ann", "bob")
    with pytest.raises(NotFound, match="ann"):
        tokens.revoke("ann", "bob")
    _, second = tokens.create("ann", "viewer", "bob")
    assert tokens.check(first) is None
    assert tokens.check(second) is not None
    assert [t.revoked_by for t in tokens.all()] == ["bob", None]


def test_only_the_whole_text_of_a_token_is_taken(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    _, text = tokens.create("ann", "operator", "loopback")
    prefix, identity, secret = text.split("_", 2)
    made = tokens.all()[0]
    for wrong in (
        "",
        secret,
        f"{prefix}_{identity}_",
        f"{prefix}_{identity}_{secret[:-1]}",
        f"{prefix}_00000000_{secret}",
        f"xx_{identity}_{secret}",
        f"{prefix}_{identity}_{made.sha256}",
        text + "\n",
        "df_é_é",
    ):
        assert tokens.check(wrong) is None, wrong


def test_last_uses_are_kept_to_the_minute(tmp_path: Path) -> None:
    clock = ManualClock(1000.0)
    tokens = Tokens(tmp_path, clock)
    made, text = tokens.create("ann", "operator", "loopback")
    assert tokens.used_at(made) is None
    for advance, known in ((0, 1000), (30, 1000), (31, 1061)):
        clock.advance(advance)
        tokens.check(text)
        assert Tokens(tmp_path).used_at(made) == known


def test_the_guard_is_open_on_loopback_until_the_first_token(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    near, far = Guard(Settings(tmp_path), tokens), Guard(Settings(tmp_path, "10.0.0.1"), tokens)
    assert (near.caller(None, "::1").name, near.caller("stale", "::1").role) == (
        "loopback",
        "operator",
    )
    for refused in (lambda: far.caller(None, "a"), lambda: near.caller(None, "a", forwarded=True)):
        with pytest.raises(Unauthorized, match="dreamfleet tokens create"):
            refused()
    _, text = Tokens(tmp_path).create("ann", "operator", "loopback")
    for guard in (near, far):
        assert guard.caller(text, "a").name == "ann"
    Tokens(tmp_path).revoke("ann", "ann")
    for text_or_none in (text, None):
        with pytest.raises(Unauthorized):
            near.caller(text_or_none, "a")  # and it stays closed


def test_wrong_attempts_are_limited_but_a_right_token_comes_in(tmp_path: Path) -> None:
    clock, tokens = ManualClock(), Tokens(tmp_path)
    _, text = tokens.create("ann", "operator", "loopback")
    guard = Guard(Settings(tmp_path), tokens, clock)
    for _ in range(ATTEMPTS):
        with pytest.raises(Unauthorized):
            guard.caller("wrong", "a")
    with pytest.raises(TooManyAttempts):
        guard.caller("wrong", "a")
    assert guard.caller(text, "a").name == "ann"
    with pytest.raises(Unauthorized):
        guard.caller("wrong", "b")
    clock.advance(WINDOW_S)
    with pytest.raises(Unauthorized):
        guard.caller("wrong", "a")


def test_the_doors_say_which_commands_are_missing(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    settings = Settings(data, host="0.0.0.0", gateway="tcp://0.0.0.0:5555")
    advice = []

    def refused() -> str:
        with pytest.raises(SettingsError) as caught:
            asyncio.run(run_service(settings).__aenter__())
        advice.append(str(caught.value))
        return advice[-1]

    assert f"dreamfleet keys init --data '{data}'" in refused()
    assert not data.exists()
    assert "dreamfleet keys enrol NAME" in advice[-1]
    make_server_pair(data)
    assert "keys init" not in refused()
    assert f"dreamfleet tokens create NAME --role operator --data '{data}'" in refused()
    Tokens(data).create("ann", "operator", "ann")
    refuse_open_doors(settings)
    Tokens(data).revoke("ann", "ann")
    refuse_open_doors(settings)  # nobody comes in, which is safe, and a restart goes on learning


def test_the_register_is_json_that_people_can_read(tmp_path: Path) -> None:
    RobotKeys(tmp_path, ManualClock(5.0)).enrol("arm", OLD, "ann")
    content = json.loads((tmp_path / "keys" / "robots.json").read_text())
    assert content[OLD]["robot"] == "arm"
    assert content[OLD]["added_at"] == 5.0
