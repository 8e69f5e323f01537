"""`dreamfleet teleop`: keys of a terminal drive a robot through a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces
from typer.testing import CliRunner

from robot_client.clock import ManualClock
from server.app import serve_web
from server.cli import app
from server.commands.driving import Driver
from server.errors import NotFound
from server.settings import Settings
from tests.unit.house import open_house
from tests.unit.test_teleop_server import begin

SPACE = spaces.Box(-1, 1, (2,), np.float32)
ANSWER = {"sent": 0.0, "driver": "ann", "safety": "fresh", "reason": "", "action": None}


def test_keys_become_input():
    clock, sent, stops = ManualClock(10.0), [], []
    driver = Driver(
        SPACE, lambda given: sent.append(given) or ANSWER, lambda: stops.append(1), clock, 0.5
    )
    for pressed in ([], ["w"], ["d"], ["enter"], [" ", "w"], []):
        shown = driver.step(pressed)
        clock.advance(0.05)
    assert [s["engaged"] for s in sent] == [False, True, True, False, False, False]
    assert [s.get("action") for s in sent] == [None, [0.5, 0], [0.5, -0.5], None, None, None]
    assert [s["sent"] for s in sent] == pytest.approx([10 + 0.05 * i for i in range(6)])
    assert len(stops) == 1
    assert shown.startswith("ann | fresh")


class Terminal:
    """Presses some keys and then Ctrl-C."""

    def __init__(self):
        self.presses = iter([[], ["w"], [], ["d"], [], [" "]])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def keys(self):
        try:
            return next(self.presses)
        except StopIteration:
            raise KeyboardInterrupt from None


def test_a_terminal_drives_through_a_server(tmp_path, monkeypatch):
    monkeypatch.setattr("robot_client.teleops.keyboard.Terminal", Terminal)

    async def scenario():
        async with open_house(tmp_path) as house:
            await begin(house)
            service = replace(house.service, settings=Settings(tmp_path, port=0))
            async with serve_web(service) as address:

                def run(*arguments):
                    return CliRunner().invoke(app, ["teleop", *arguments, "--server", address])

                driven = await asyncio.to_thread(run, "drive", "ball-1", "--speed", "1", "--json")
                assert driven.exit_code == 0, driven.output
                assert json.loads(driven.stdout)["holder"] is None
                state = await asyncio.to_thread(run, "get", "ball-1", "--json")
                table = await asyncio.to_thread(run, "get", "ball-1")
                nobody = await asyncio.to_thread(run, "drive", "nobody")
        return house.fleet, json.loads(state.output), table.output, nobody.exception

    fleet, state, table, nobody = asyncio.run(scenario())
    wishes = [message.wish for _, message in fleet.driven]
    assert wishes == ["end", *["act"] * 4, "end", "end"]  # the last one is the release
    assert fleet.driven[1][1].columns["action"].tolist() == [2.0, 0.0]
    assert ("ball-1", "stop") in fleet.commands
    assert (state["holder"], state["robot"]) == (None, "ball-1")
    assert "+ action 0" in table
    assert isinstance(nobody, NotFound)
