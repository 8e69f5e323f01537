"""A person drives robots from a real browser; robots that are played write down what they hear."""

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from robot_client.schema import space_to_json
from server import dashboard
from tests.browser.browser import Tab
from tests.browser.stage import stage
from tests.unit.test_evaluations import running

ARM = space_to_json(spaces.Box(-2.0, 2.0, (3,), np.float32))


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    home = tmp_path_factory.mktemp("driving")
    with stage(home) as found:
        found.do(join(found.house, home))
        yield found


def unhurried(tab):
    """A second without an answer ends a motion; a machine that is busy with tests may take one."""
    script = Path(dashboard.__file__).with_name("static") / "teleop.js"
    hasty = "QUIET_MS = 1000;"
    assert hasty in script.read_text()
    patient = script.read_text().replace(hasty, "QUIET_MS = 60000;")
    tab.page.route(
        "**/teleop.js", lambda route: route.fulfill(content_type="text/javascript", body=patient)
    )


@pytest.fixture
def drive(played, opened):
    """Opens the page of a robot that is then driven."""
    tabs = []

    def open_page(robot, patient=True):
        played.house.fleet.driven.clear()
        played.house.fleet.show(robot, driver="", safety="fresh", reason="")
        tabs.append(Tab(opened, played.port, played.token))
        if patient:
            unhurried(tabs[-1])
        tabs[-1].open(f"/robots/{robot}/drive")
        tabs[-1].mark("take-over").click()
        tabs[-1].wait(lambda: "robot holds" in tabs[-1].text("said"))
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.page.evaluate("async () => { await driving.ask('DELETE'); }")
        tab.close()


async def join(house, home):
    for robot, action in (("buttons", {}), ("arm", {"action": ARM})):
        await running(house, home, robots=[robot])
        house.join(robot, **action)


def hears(tab, played, robot, wish, action=None):
    tab.wait(lambda: played.house.fleet.said(robot) == (wish, action), f"{robot} hears {wish}")


def hears_about(tab, played, action):
    """From a pad: the page may settle by some pixels between measuring it and pressing it."""

    def about():
        wish, said = played.house.fleet.said("arm")
        return wish == "act" and np.allclose(said, action, atol=0.3)

    tab.wait(about, f"arm hears about {action}")


def test_keys_and_buttons_choose_and_hands_off_is_hold(drive, played):
    tab = drive("buttons")
    keyboard, mouse = tab.page.keyboard, tab.page.mouse
    tab.wait(lambda: tab.text("driver") == "ann drives")
    keyboard.down("1")
    hears(tab, played, "buttons", "act", 1)
    tab.wait(lambda: tab.text("said") == "You drive: 1")
    keyboard.up("1")
    hears(tab, played, "buttons", "hold")
    tab.mark("choice-0").hover()
    mouse.down()
    hears(tab, played, "buttons", "act", 0)
    mouse.move(5, 5)  # still pressed
    keyboard.press("x")  # means nothing here
    mouse.up()
    hears(tab, played, "buttons", "hold")
    keyboard.press("Escape")
    hears(tab, played, "buttons", "end")
    tab.wait(lambda: tab.text("lease") == "lent to nobody")
    assert tab.errors == []
    assert tab.foreign == []


def test_pad_sliders_and_keys_move_numbers(drive, played):
    tab = drive("arm")
    tab.mark("pad").hover()  # it scrolls there
    tab.page.mouse.down()
    hears_about(tab, played, [0.0, 0.0, 0.0])
    box = tab.mark("pad").bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] + 50, box["y"] + box["height"] / 2)
    hears_about(tab, played, [2.0, 0.0, 0.0])
    tab.page.keyboard.down("Shift")
    tab.page.keyboard.down("y")  # down for number 2 is f, up is r
    tab.page.keyboard.down("R")
    hears_about(tab, played, [2.0, 0.0, 2.0])
    tab.page.keyboard.up("Shift")
    tab.page.keyboard.up("r")  # the same key by another name
    hears_about(tab, played, [2.0, 0.0, 0.0])
    tab.page.mouse.up()
    hears(tab, played, "arm", "hold")
    slider = tab.mark("axis-1").bounding_box()
    tab.page.mouse.move(slider["x"] + 2, slider["y"] + slider["height"] / 2)
    tab.page.mouse.down()
    hears(tab, played, "arm", "act", [0.0, -2.0, 0.0])
    tab.page.wait_for_timeout(1200)  # the page is shown anew meanwhile
    assert tab.mark("axis-1").input_value() == "-1"
    tab.page.mouse.up()
    hears(tab, played, "arm", "hold")
    assert tab.mark("axis-1").input_value() == "0"


SHIFT = """() => {
  const above = document.createElement("div");
  above.style.height = "60px";
  document.querySelector("[data-drive]").prepend(above);
}"""


def test_a_page_that_shifts_under_a_hand_moves_nothing(drive, played):
    tab = drive("arm")
    tab.mark("pad").hover()
    tab.page.mouse.down()
    hears_about(tab, played, [0.0, 0.0, 0.0])
    before = tab.mark("pad").bounding_box()
    tab.page.evaluate(SHIFT)
    assert tab.mark("pad").bounding_box()["y"] > before["y"] + 50  # 1 of 2 on axis 1
    x, y = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    for step in range(1, 4):
        tab.page.mouse.move(x + step, y)
    tab.page.wait_for_timeout(300)
    hears_about(tab, played, [0.0, 0.0, 0.0])
    tab.page.mouse.up()
    hears(tab, played, "arm", "hold")
    tab.mark("pad").hover()  # where it is now
    tab.page.mouse.down()
    hears_about(tab, played, [0.0, 0.0, 0.0])
    tab.page.mouse.up()


HIDE = """() => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
ENDS = {
    "focus": "() => window.dispatchEvent(new Event('blur'))",
    "hidden": HIDE,
}


@pytest.mark.parametrize("how", ENDS)
def test_a_motion_ends_when_the_page_is_left_and_a_key_has_to_be_pressed_anew(drive, played, how):
    tab = drive("buttons")
    tab.page.keyboard.down("2")
    hears(tab, played, "buttons", "act", 2)
    tab.page.evaluate(ENDS[how])
    hears(tab, played, "buttons", "hold")
    tab.wait(lambda: how in tab.text("said") or "robot holds" in tab.text("said"))
    told = len(played.house.fleet.driven)
    tab.page.keyboard.down("2")  # the keyboard repeats it
    tab.page.wait_for_timeout(400)
    assert all(message.wish == "hold" for _, message in played.house.fleet.driven[told:])
    if how == "hidden":  # says nothing more: the robot goes by its own clock
        assert len(played.house.fleet.driven) <= told + 1
        return
    tab.page.keyboard.up("2")
    tab.page.keyboard.down("2")
    hears(tab, played, "buttons", "act", 2)


def test_a_motion_ends_when_answers_stay_away(drive, played):
    tab = drive("buttons", patient=False)
    tab.page.evaluate("driving.turn.socket.onmessage = null")
    tab.wait(lambda: "No answer for" in tab.text("said"))
    hears(tab, played, "buttons", "hold")
    # An answer again, and a key that is pressed anew, and then none again.
    tab.page.evaluate("driving.turn.answeredAt = Infinity")
    tab.page.keyboard.down("2")
    hears(tab, played, "buttons", "act", 2)
    tab.page.evaluate("driving.turn.answeredAt = performance.now()")
    hears(tab, played, "buttons", "hold")
    tab.wait(lambda: "No answer for" in tab.text("said"))


def test_a_lost_connection_and_an_emergency_stop_end_the_take_over_and_the_page_says_so(
    drive, played
):
    tab = drive("buttons")
    tab.page.keyboard.down("2")
    hears(tab, played, "buttons", "act", 2)
    tab.page.evaluate("driving.turn.socket.close()")
    tab.wait(lambda: "connection is lost" in tab.text("said"))
    told = len(played.house.fleet.driven)
    tab.page.wait_for_timeout(300)
    assert len(played.house.fleet.driven) == told  # silence, which the robot knows to read
    tab.page.keyboard.up("2")
    tab.page.once("dialog", lambda dialog: dialog.accept())  # ann has it already
    tab.mark("take-over").click()
    tab.wait(lambda: "Hands off" in tab.text("said"))
    tab.page.keyboard.down("1")
    hears(tab, played, "buttons", "act", 1)
    tab.mark("stop").click()
    tab.wait(lambda: "The take-over is over: an operator" in tab.text("said"))
    hears(tab, played, "buttons", "end")
    assert [e for e in tab.errors if "409" not in e] == []
