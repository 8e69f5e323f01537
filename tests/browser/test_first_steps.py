"""What somebody meets who opens the dashboard for the first time."""

import pytest

from tests.browser.browser import Tab
from tests.browser.lab import SPACES
from tests.unit.house import hello_of

TIP = """() => [...document.querySelectorAll("[data-mark='signals'] div")]
  .filter((box) => box.innerText.includes("row ") && getComputedStyle(box).opacity > 0
    && getComputedStyle(box).visibility === "visible")
  .map((box) => box.innerText)"""


@pytest.fixture
def tab(opened, played):
    found = Tab(opened, played.port, played.token)
    yield found
    errors = found.errors
    found.close()
    assert errors == []


def test_two_clicks_make_one_experiment(tab, played):
    page = tab.open("/new")
    tab.wait(lambda: tab.mark("create").is_visible(), "the form")
    tab.mark("field-name").fill("twice")
    tab.mark("create").evaluate("(button) => { button.click(); button.click(); }")
    page.wait_for_url("**/experiments/*")
    found = played.ask("GET", "/experiments")["items"]
    assert [each["name"] for each in found].count("twice") == 1


def test_values_stand_beside_the_pointer_and_not_before_it_is_there(tab, played):
    page = tab.open(f"/experiments/{played.ball}/episodes")
    chart = tab.mark("signals")
    tab.wait(lambda: chart.count() and tab.page.locator("#episode-at").inner_text() == "row 0")
    page.wait_for_timeout(300)
    assert page.evaluate(TIP) == []
    box = chart.bounding_box()
    for x in (120, 125, 130):
        page.mouse.move(box["x"] + x, box["y"] + 90)
        page.wait_for_timeout(50)
    tab.wait(lambda: page.evaluate(TIP), "the values")
    assert page.evaluate(TIP)[0].count("row ") == 1
    page.mouse.move(5, 5)
    tab.wait(lambda: page.evaluate(TIP) == [], "no values")


def test_what_an_absent_robot_cannot_do_is_not_offered_but_for_the_emergency_stop(tab, played):
    tab.open("/")
    tab.wait(lambda: tab.mark("pause-ball-1").is_enabled(), "a robot that is there")
    session = played.house.fleet.connected.pop("ball-1")
    try:
        tab.wait(lambda: tab.mark("pause-ball-1").is_disabled(), "a robot that is away")
        assert tab.mark("discard-ball-1").is_disabled()
        assert tab.mark("stop-ball-1").is_enabled()
    finally:
        played.house.fleet.connected["ball-1"] = session


def test_a_robot_whose_name_was_mistyped_leaves_the_list_when_it_is_away(tab, played):
    async def meet():
        hello = hello_of("bal-1", **SPACES)
        played.house.experiments.roster.met(hello, "bal-1", *SPACES.values())

    played.do(meet())
    tab.open("/")
    tab.wait(lambda: tab.mark("remove-bal-1").is_visible(), "a robot that is away")
    assert not tab.mark("remove-ball-1").is_visible()
    tab.mark("remove-bal-1").click()
    tab.mark("sure").click()
    tab.wait(lambda: tab.mark("state-bal-1").count() == 0, "one robot less")
    names = [each["name"] for each in played.ask("GET", "/robots")["items"]]
    assert "ball-1" in names
    assert "bal-1" not in names


def test_where_no_page_is_there_is_the_navigation(tab):
    answer = tab.page.goto(tab.base + "/nosuch")
    assert answer.status == 404
    tab.page.get_by_text("There is no page /nosuch").wait_for()
    tab.page.get_by_role("link", name="Experiments").click()
    tab.page.wait_for_url("**/experiments")
    tab.errors[:] = [error for error in tab.errors if "404" not in error]


@pytest.mark.parametrize(("after", "path"), [("", None), ("//evil.example/x", "/")])
def test_signing_in_leads_to_what_was_asked_for_on_this_server(opened, played, after, path):
    wanted = f"/experiments/{played.ball}"
    stranger = Tab(opened, played.port)
    stranger.page.goto(stranger.base + (f"/login.html?next={after}" if after else wanted))
    stranger.page.fill("#token", played.token)
    stranger.page.click("button")
    stranger.page.wait_for_url(stranger.base + (path or wanted))
    assert stranger.foreign == []
    stranger.close()
