"""Clocks, and the versions of server, robots and what they speak."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version

from robot_client.clock import SystemClock
from robot_client.findings import Finding
from robot_client.messages import PROTOCOL
from server.doctor.network import ask, ask_health
from server.settings import Settings

_OLDEST = 1767225600.0  # 2026-01-01: no clock that is right says less
_APART_S = 2.0


def check_clock(settings: Settings) -> Iterator[Finding]:
    """Whether the time can be right, does not contradict the data, and is the server's too."""
    now, advice = SystemClock().wall(), "set the clock; let NTP keep it (timedatectl set-ntp true)"
    if now < _OLDEST:
        yield Finding("clock", "FAIL", "the clock is years behind", advice)
        return
    database = settings.data / "dreamfleet.sqlite"
    written = database.stat().st_mtime if database.exists() else 0.0
    if written > now + _APART_S:
        text = f"the database was written {written - now:.0f} s in the future"
        yield Finding("clock", "WARN", text, advice)
        return
    answer = ask_health(settings)
    if answer is not None and abs(answer.ahead_s) > _APART_S:
        text = f"the server's clock is {answer.ahead_s:+.0f} s from this one"
        yield Finding("clock", "WARN", text, advice)
        return
    yield Finding("clock", "OK", "plausible")


def check(settings: Settings) -> Iterator[Finding]:
    """Of this program, of the server that answers, and of the robots that it knows."""
    ours = version("dreamfleet")
    text = f"dreamfleet {ours}, protocol {PROTOCOL}, Python {platform.python_version()}"
    yield Finding("versions", "OK", text)
    answer = ask_health(settings)
    if answer is not None and answer.health["version"] != ours:
        text = f"the server that runs is {answer.health['version']}"
        yield Finding("versions", "WARN", text, "restart it")
    listed = ask(settings, "/robots?limit=1000")
    for robot in listed.json()["items"] if listed is not None else []:
        if robot["connected"] and not robot["client"].endswith(f" {ours}"):
            text = f"robot {robot['name']} runs {robot['client']}"
            yield Finding("versions", "WARN", text, f"install dreamfleet {ours} there")
