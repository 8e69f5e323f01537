"""Robots that the gateway does not admit, which may move all the same."""

import pytest

from robot_client.messages import ANY_EPISODE, Command, Rejected
from server.errors import NotFound
from tests.unit.test_gateway import serve

__all__ = ["serve"]  # a fixture


def test_a_robot_that_is_refused_can_still_be_halted(serve):
    """It may move: its experiment was stopped while it was out of reach."""

    async def scenario(gateway, connect, ledger):
        await connect("ball-1").hello()
        first = gateway.command("ball-1", "pause")  # it has gone: nobody hears this
        gateway.command("ball-1", "reset")
        ledger.full = True
        back = connect("ball-1")
        assert await back.hello() == Command(first, "pause", ANY_EPISODE)
        assert isinstance(await back.hear(), Rejected)
        assert isinstance(await back.hello(), Rejected)  # it has been told
        number = gateway.command("ball-1", "stop")
        assert await back.hear() == Command(number, "stop", ANY_EPISODE)
        stranger = connect("ball-2")
        assert isinstance(await stranger.hello(), Rejected)
        number = gateway.command("ball-2", "stop")
        assert await stranger.hear() == Command(number, "stop", ANY_EPISODE)
        with pytest.raises(NotFound):
            gateway.command("ball-2", "release")

    serve(scenario)


def test_a_robot_on_its_way_to_another_experiment_can_be_stopped(serve):
    async def scenario(gateway, connect, ledger):
        robot = connect("ball-1")
        await robot.hello()
        gateway.let_go("ball-1")
        number = gateway.command("ball-1", "stop")
        assert await robot.hear() == Command(number, "stop", ANY_EPISODE)

    serve(scenario)
