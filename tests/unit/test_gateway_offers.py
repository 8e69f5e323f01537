"""Each robot is offered its own version, or that of all; what is removed is offered no more."""

import asyncio

import pytest

from robot_client.messages import Ack, PolicyOffer, Pulse, Rejected, Welcome
from server.errors import ReplayError
from tests.unit.test_gateway import BEAT, serve, upload

__all__ = ["serve"]  # a fixture


def manifest(version):
    return {"version": version}


def test_a_robot_with_a_version_of_its_own_gets_no_other(serve):
    async def scenario(gateway, connect, ledger):
        canary, other = connect("ball-1"), connect("ball-2")
        await canary.hello()
        await other.hello()
        gateway.publish_to("ball-1", "exp", manifest(7))
        assert await canary.hear() == PolicyOffer(manifest(7))
        gateway.publish("exp", manifest(8))
        assert await other.hear() == PolicyOffer(manifest(8))
        assert isinstance(await canary.hello(), Welcome)
        assert await canary.hear() == PolicyOffer(manifest(7))
        gateway.publish_to("ball-1", "exp", None)
        assert await canary.hear() == PolicyOffer(manifest(8))
        gateway.publish_to("ball-2", "elsewhere", manifest(9))
        assert await other.ask(BEAT) == Pulse(7, "running")

    serve(scenario)


def test_a_removed_experiment_takes_no_rows_and_its_robots_start_again(serve):
    async def scenario(gateway, connect, ledger):
        robot = connect("ball-1")
        await robot.hello()
        gateway.publish("exp", manifest(7))
        assert await robot.hear() == PolicyOffer(manifest(7))
        assert await robot.ask(upload(0, 5)) == Ack("boot-0", 5)
        await asyncio.sleep(0)
        gateway.forget("exp")
        assert gateway.sessions() == []
        with pytest.raises(ReplayError, match="has been removed"):
            gateway.store("exp")
        answer = await robot.ask(upload(5, 9))
        assert isinstance(answer, Rejected)
        assert answer.field == "hello"
        assert isinstance(await robot.hello(), Rejected)

    serve(scenario)
