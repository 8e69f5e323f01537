"""An operator's commands on their way to the robots."""

import pytest

from robot_client.messages import Verb
from server.errors import NotFound
from server.sessions import Orders

START = 1_700_000_000.5


@pytest.mark.parametrize(
    ("first", "second"), [("release", "stop"), ("stop", "release"), ("resume", "pause")]
)
def test_a_command_that_a_later_one_undoes_is_never_repeated(first: Verb, second: Verb):
    orders = Orders(START)
    old = orders.add("ball-1", first)
    other = orders.add("ball-2", first)
    new = orders.add("ball-1", second)
    assert orders.pending("ball-1") == [new]
    assert orders.pending("ball-2") == [other]
    assert orders.get(old.id).error == f"undone by command {new.id}"


def test_a_command_waits_for_its_robot_however_many_others_get():
    orders = Orders(START)
    stop = orders.add("ball-1", "stop")
    for _ in range(Orders.KEPT + 9):
        answered = orders.add("ball-2", "end_episode")
        orders.done("ball-2", answered.id, "")
    assert orders.pending("ball-1") == [stop]
    assert orders.get(answered.id).error == ""
    with pytest.raises(NotFound):
        orders.get(stop.id + 1)


def test_an_answer_to_the_server_before_a_restart_answers_nothing_of_this_ones():
    before, now = Orders(START), Orders(START + 2)
    old = before.add("ball-1", "pause")
    stop = now.add("ball-1", "stop")
    now.done("ball-1", old.id, "")
    assert now.pending("ball-1") == [stop]
