"""Curves of a page grow by the news of episodes as the service counts them."""

import asyncio
from types import SimpleNamespace

from server.api.metrics import EPISODE_RETURN, EVALUATION_RETURN, HUMAN_SHARE, INTERVENTIONS
from server.dashboard.series import Curves
from server.feed import News

NAMES = [EPISODE_RETURN, EVALUATION_RETURN, HUMAN_SHARE, INTERVENTIONS]
PLAIN = {
    "steps": 10,
    "total_reward": 5.0,
    "policy_last": 3,
    "human_steps": 0,
    "interventions": 0,
    "ended_at": 60.0,
    "evaluation": None,
    "fair": True,
    "aborted": False,
}


def grown(*episodes):
    """The values of each metric after these episodes, over rows."""

    async def nothing(path, **query):
        empty = {column: [] for column in ("time", "rows", "updates", "value")}
        return {"series": dict.fromkeys(query["name"], empty)}

    async def act():
        curves = Curves(SimpleNamespace(get=nothing))
        await curves.want("e-1", NAMES)
        news = [News("episode", "e-1", PLAIN | about) for about in episodes]
        other = News("episode", "e-2", PLAIN)
        assert await curves.hear([*news, other])
        return [curves.of("e-1", name).over("rows") for name in NAMES]

    return asyncio.run(act())


def test_an_episode_with_a_person_counts_for_people_and_not_as_a_return():
    returns, evaluated, share, takeovers = grown(
        {}, {"human_steps": 4, "interventions": 2}, {"total_reward": 7.0, "steps": 4}
    )
    assert returns == [[11, 5.0], [16, 7.0]]  # a row more than steps
    assert evaluated == []
    assert share == [[11, 0.0], [22, 0.4], [27, 0.0]]
    assert takeovers == [[11, 0], [22, 2], [27, 0]]


def test_an_episode_that_was_broken_off_has_no_return():
    returns, _, share, _ = grown({}, {"aborted": True, "total_reward": -0.3, "steps": 1})
    assert returns == [[11, 5.0]]
    assert [value for _, value in share] == [0.0, 0.0]


def test_an_evaluation_has_a_curve_of_its_own():
    returns, evaluated, share, _ = grown(
        {"evaluation": 1, "total_reward": 8.0}, {"evaluation": 1, "fair": False}
    )
    assert returns == []
    assert evaluated == [[11, 8.0]]
    assert [value for _, value in share] == [0.0, 0.0]
