"""An operator's commands on their way to the robots."""

import pytest

from robot_client.messages import Verb
from server.sessions import Orders


@pytest.mark.parametrize(
    ("first", "second"), [("release", "stop"), ("stop", "release"), ("resume", "pause")]
)
def test_a_command_that_a_later_one_undoes_is_never_repeated(first: Verb, second: Verb):
    orders = Orders()
    old = orders.add("ball-1", first)
    other = orders.add("ball-2", first)
    new = orders.add("ball-1", second)
    assert orders.pending("ball-1") == [new]
    assert orders.pending("ball-2") == [other]
    assert orders.get(old.id).error == f"undone by command {new.id}"
