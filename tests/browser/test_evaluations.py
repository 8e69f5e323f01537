"""Evaluations and the roll-out's rule on their page, with a robot that is played."""

import pytest

from robot_client.schema import Tag
from tests.browser.browser import Tab, browser
from tests.browser.stage import stage
from tests.unit.test_evaluations import Player, running


async def begun(house, home):
    made = await running(house, home, robots=["ball-1"])
    return made, Player(house, "ball-1", made)


async def play(player, totals, version, tag):
    for total in totals:
        player.play(total, version, tag)


@pytest.fixture
def played(tmp_path):
    with stage(tmp_path) as found:
        found.made, found.player = found.do(begun(found.house, tmp_path))
        yield found


BARS = """() => {
  const id = document.querySelector("[data-mark='intervals']").id.slice(1);
  const all = getElement(Number(id))?.chart?.getOption().series ?? [];
  return all.filter((one) => one.type === "custom").map((one) => [one.name, one.data.length]);
}"""


def fill(tab, mark, value):
    tab.mark(mark).fill(str(value))


def test_an_evaluation_is_begun_watched_and_the_best_marked_and_the_rule_decides(played):
    with browser() as opened:
        tab = Tab(opened, played.port, played.token)
        tab.open(f"/experiments/{played.made}/evaluations")
        tab.wait(lambda: "none evaluated" in tab.text("best"))
        for number, (version, totals) in enumerate(((0, (1.0, 2.0)), (1, (8.0, 9.0))), 1):
            fill(tab, "new-version", version)
            fill(tab, "new-episodes", 2)
            tab.mark("start").click()
            tab.wait(lambda n=number: tab.mark(f"evaluation-{n}").count() == 1, "a new row")
            played.do(play(played.player, totals, version, Tag(number)))
            row = f"evaluation-{number}"
            tab.wait(lambda row=row: "done" in tab.text(row), "its end")
        tab.wait(lambda: "v1" in tab.text("best"))
        assert "8.5 (2.1 to 14.9)" in tab.text("best")  # 8.5 +- 12.706 * 0.7071 / 2 ** 0.5
        tab.wait(lambda: "best" in tab.text("evaluation-2"))
        assert "best" not in tab.text("evaluation-1")
        assert tab.page.evaluate(BARS) == [["versions", 1], ["best", 1]]
        settings(tab, played)
        assert [e for e in tab.errors if "422" not in e] == []
        assert tab.foreign == []
        tab.close()


def settings(tab, played):
    """A schedule with a wrong number, then a right one; and the rule, which begins to decide."""
    path = f"/experiments/{played.made}"
    fill(tab, "schedule-every_rows", 0)
    tab.mark("save-schedule").click()
    field = tab.page.locator(".q-field:has([data-mark='schedule-every_rows'])")
    tab.wait(lambda: "greater than or equal to 1" in field.inner_text(), "what is wrong")
    fill(tab, "schedule-every_rows", 5000)
    fill(tab, "schedule-every_minutes", 7.5)
    tab.mark("save-schedule").click()
    tab.wait(lambda: played.ask("GET", path)["evaluation"]["every_rows"] == 5000)
    assert played.ask("GET", path)["evaluation"]["every_minutes"] == 7.5
    assert played.ask("GET", path)["evaluation"]["every_versions"] is None
    tab.mark("rule-automatic").click()
    fill(tab, "rule-min_episodes", 2)
    tab.mark("save-rule").click()
    tab.wait(lambda: "version 1 is offered to all" in tab.text("events"), "a decision")
    assert played.ask("GET", path)["rollout"]["min_episodes"] == 2
    tab.wait(lambda: "waits for a version after v1" in tab.text("trial"))
