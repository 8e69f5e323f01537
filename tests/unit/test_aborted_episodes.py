"""Episodes that were broken off: shown as such, and no return of anything."""

from robot_client.schema import Tag
from tests.unit.house import in_house
from tests.unit.test_evaluations import Player, _no_learners, running

__all__ = ["_no_learners"]  # a fixture
CUT = Tag(cut=True)


def test_what_was_broken_off_is_listed_and_counts_nowhere_as_a_return(tmp_path):
    async def act(house):
        made = await running(house, tmp_path)
        player = Player(house, "ball-1", made)
        with house.experiments.feed.subscribe() as news:
            player.play(5.0, 1)
            player.play(-0.3, 1, CUT)
            told = [(await news.get()).data["aborted"] for _ in range(2)]
        found = await house.items(f"/experiments/{made}/episodes")
        query = f"/metrics?experiment={made}&name=episode_return"
        curve = (await house.ask("GET", query))["series"]["episode_return"]["value"]
        policies = {p["version"]: p for p in await house.items(f"/experiments/{made}/policies")}
        return told, [e["ending"] for e in found], curve, policies[1]["returns"]

    told, endings, curve, returns = in_house(tmp_path, act)
    assert told == [False, True]
    assert endings == ["time limit", "aborted"]
    assert curve == [5.0]
    assert (returns["episodes"], returns["mean"]) == (1, 5.0)


def test_an_operators_word_that_the_task_is_over_ends_an_episode_properly(tmp_path):
    async def act(house):
        made = await running(house, tmp_path)
        player = Player(house, "ball-1", made)
        player.play(5.0, 1, CUT, ends=True)
        return await house.items(f"/experiments/{made}/episodes")

    (found,) = in_house(tmp_path, act)
    assert found["ending"] == "ended"
