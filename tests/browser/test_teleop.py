"""A person drives robots from a real browser, lets go, hands back, and stops one."""

import pytest

from server.access import Tokens
from tests.browser.browser import Tab, browser
from tests.system.harness import Child, Counter, Server, wait_until


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("driving")


@pytest.fixture(scope="module")
def token(home):
    return Tokens(home / "data").create("ann", "operator", "test")[1]


@pytest.fixture(scope="module")
def server(home, token):
    served = Server(home)
    served._client.headers["Authorization"] = f"Bearer {token}"
    with served:
        yield served


def until(tab, server, robot, condition):
    shown = {}

    def holds():
        shown["now"] = server.get(f"/robots/{robot}/teleop")
        return condition(shown["now"])

    tab.wait(holds, f"the robot {shown}")


@pytest.mark.timeout(400)
def test_a_person_drives_from_a_browser(server, token):
    server.create("random", {}, robots=["counter"])
    with Counter(server, "counter", hz=10.0, episode_steps=400), browser() as opened:
        wait_until(lambda: (server.robot("counter") or {}).get("connected"), server.child.tail)
        tab = Tab(opened, server.port, token)
        page = tab.open("/robots/counter/drive")
        tab.wait(lambda: "its policy drives" in tab.text("driver"))
        tab.mark("take-over").click()
        page.keyboard.down("1")
        until(tab, server, "counter", lambda s: (s["driver"], s["holder"]) == ("ann", "ann"))
        tab.wait(lambda: "you drive: 1" in tab.text("said"))
        tab.wait(lambda: "ann drives" in tab.text("driver"))
        page.keyboard.up("1")  # hands off: it holds, and ann still has it
        tab.wait(lambda: "you drive: null" in tab.text("said"))
        tab.mark("choice-0").hover()
        assert tab.mark("choice-0").get_attribute("data-key") == "0"
        page.mouse.down()
        tab.wait(lambda: "you drive: 0" in tab.text("said"))
        page.mouse.up()
        tab.mark("hand-back").click()
        until(tab, server, "counter", lambda s: (s["driver"], s["holder"]) == ("", None))
        tab.mark("take-over").click()
        until(tab, server, "counter", lambda s: s["driver"] == "ann")
        tab.mark("stop").click()
        until(tab, server, "counter", lambda s: (s["driver"], s["safety"]) == ("", "estop"))
        tab.wait(lambda: "the take-over is over" in tab.text("said"))
        assert tab.errors == []
        assert tab.foreign == []
        tab.close()
        kinds = {e["kind"] for e in server.get("/events?limit=100")["items"]}
        assert {"take_over", "hand_back"} <= kinds


@pytest.mark.timeout(400)
def test_a_joystick_and_sliders_move_a_robot_of_numbers(server, token):
    server.create("random", {}, robots=["ball"])
    folders = ("--spool", server.home / "ball" / "spool", "--cache", server.home / "ball" / "cache")
    command = ("robot_client.cli", "run", "ball", "--name", "ball", "--server", server.gateway)
    robot = Child((*command, *folders), server.home / "ball.log")
    try:
        wait_until(lambda: (server.robot("ball") or {}).get("connected"), robot.tail)
        with browser() as opened:
            tab = Tab(opened, server.port, token)
            page = tab.open("/robots/ball/drive")
            tab.mark("take-over").click()
            tab.mark("pad").hover()
            page.mouse.down()
            box = tab.mark("pad").bounding_box()
            page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2)
            tab.wait(lambda: "you drive: [" in tab.text("said"))
            until(tab, server, "ball", lambda s: s["driver"] == "ann")
            page.mouse.up()
            tab.wait(lambda: "you drive: null" in tab.text("said"))
            tab.mark("hand-back").click()
            until(tab, server, "ball", lambda s: s["driver"] == "")
            assert tab.errors == []
            tab.close()
    finally:
        robot.kill()
