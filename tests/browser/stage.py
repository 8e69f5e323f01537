"""A server whose robots are actors: all pages are real, and what robots are told is written down.

It lives in a thread of its own, without robots, learners or sockets to robots, so that a test of a
page costs a second and sees every word that reaches a robot.
"""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

from server.access import Tokens
from server.app import serve_web
from server.settings import Settings
from tests.unit.house import FakeFleet, open_house
from tests.unit.test_evaluations import looked
from tests.unit.test_state_machine import Idle

PERSON = "ann"


class Actors(FakeFleet):
    """Robots that do as a person says, and say so in their heartbeats, until they are stopped."""

    def drive(self, robot, message):
        super().drive(robot, message)
        if self.connected[robot].heartbeat.safety == "estop":
            return
        driver = "" if message.wish == "end" else message.driver
        self.show(robot, driver=driver, safety="hold" if message.wish == "hold" else "fresh")

    def command(self, robot, verb, *rest):
        if verb == "stop":
            self.show(robot, driver="", safety="estop", reason="an operator")
        return super().command(robot, verb, *rest)

    def show(self, robot, **changes):
        """The robot's next heartbeat."""
        session = self.connected[robot]
        beat = replace(session.heartbeat, **changes)
        self.connected[robot] = replace(session, heartbeat=beat)

    def said(self, robot):
        """The last word that the robot has heard of a person: what they wish, and the action."""
        found = [message for name, message in self.driven if name == robot]
        if not found:
            return None
        action = found[-1].columns.get("action")
        return found[-1].wish, None if action is None else action.tolist()


class Stage:
    """What a test does to the server from its own thread."""

    def __init__(self, house, port, token, loop):
        self.house, self.port, self.token, self._loop = house, port, token, loop

    def do(self, coroutine):
        """Run something on the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def ask(self, method, path, body=None, status=200):
        return self.do(self.house.ask(method, path, body, status))

    def look(self):
        """Have the overseer see what is to be done."""
        self.do(looked(self.house))


@contextmanager
def stage(home):
    """A server without experiments."""
    ready, done, found = threading.Event(), threading.Event(), []
    token = Tokens(home).create(PERSON, "operator", "test")[1]

    async def live():
        async with open_house(home, fleet=Actors) as house:
            house.http.headers["Authorization"] = f"Bearer {token}"
            service = replace(house.service, settings=Settings(home, port=0))
            async with serve_web(service) as address:
                port = int(address.rpartition(":")[2])
                found.append(Stage(house, port, token, asyncio.get_running_loop()))
                ready.set()
                await asyncio.to_thread(done.wait)

    with patch("server.experiments.Supervisor", Idle):
        thread = threading.Thread(target=asyncio.run, args=(live(),))
        thread.start()
        try:
            assert ready.wait(60)
            yield found[0]
        finally:
            done.set()
            thread.join()
