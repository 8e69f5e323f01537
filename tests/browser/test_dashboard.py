"""The dashboard in a real browser, on a real server with a real robot: one of each for all."""

import json
import os
import urllib.parse

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from server.access import Tokens
from server.dashboard import PAGES
from tests.browser.browser import Tab
from tests.system.harness import ENVIRONMENT, Counter, Server, wait_until

ENVIRONMENT.pop("PYTEST_CURRENT_TEST", None)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def tokens(home):
    kept = Tokens(home / "data")
    return {name: kept.create(name, name, "test")[1] for name in ("operator", "viewer")}


@pytest.fixture(scope="module")
def server(home, tokens):
    served = Server(home)
    served._client.headers["Authorization"] = f"Bearer {tokens['operator']}"
    with served:
        yield served


@pytest.fixture(scope="module")
def tab(opened, server, tokens):
    return Tab(opened, server.port, tokens["operator"])


@pytest.fixture(scope="module")
def robot(server, made):
    with Counter(server, "counter", hz=25.0, episode_steps=10) as counter:
        yield counter


@pytest.fixture(scope="module")
def made(tab, server):
    """The experiment that the form has made, and that runs."""
    page = tab.open("/new")
    tab.mark("field-name").fill("from the form")
    choose(tab, "field-agent", "random")
    tab.wait(lambda: tab.mark("field-batch_size").count() == 0, "the fields of another agent")
    tab.mark("field-train_ratio").fill("0")
    tab.mark("create").click()
    tab.wait(lambda: "train_ratio" in tab.text("form-trouble"), "the wrong value's message", 120)
    field = page.locator(".q-field:has([data-mark='field-train_ratio'])")
    assert "greater than 0" in field.inner_text()
    assert server.get("/experiments")["items"] == []
    tab.mark("field-train_ratio").fill("2")
    tab.mark("create").click()
    page.wait_for_url("**/experiments/*")
    tab.errors[:] = [e for e in tab.errors if "422" not in e]
    (found,) = server.get("/experiments")["items"]
    assert found["settings"]["train_ratio"] == 2
    return found["id"]


def choose(tab, name, text):
    tab.mark(name).click()
    tab.page.locator(".q-menu .q-item", has_text=text).first.click()


def curve(tab):
    """How many points the curves have that the browser draws."""
    return tab.page.evaluate(
        """() => {
          const id = document.querySelector("[data-mark='curves']")?.id.slice(1);
          const chart = id && getElement(Number(id))?.chart;
          return Math.max(0, ...(chart?.getOption().series ?? []).map((s) => s.data.length));
        }"""
    )


def test_an_experiment_of_the_form_runs_and_its_curve_grows_and_it_stops(tab, server, made, robot):
    tab.wait(lambda: tab.text("experiment-state") == "running")
    tab.wait(lambda: curve(tab) > 2, "a curve of three episodes", 170)
    before = curve(tab)
    tab.wait(lambda: curve(tab) > before, "a longer curve")
    shown = tab.text("rows")
    tab.wait(lambda: tab.text("rows") != shown, "more rows")
    tab.mark("do-stop").click()
    tab.wait(lambda: tab.text("experiment-state") == "stopped")
    assert server.get(f"/experiments/{made}")["state"] == "stopped"
    tab.mark("do-start").click()
    server.wait_for(made, lambda found: found["state"] == "running")
    lines = server.get("/audit?limit=1000")["items"]
    assert {line["who"] for line in lines} == {"operator"}
    done = {line["operation"] for line in lines if line["outcome"] == "done"}
    assert {"create_experiment", "change_experiment"} <= done
    assert not any("socket" in operation for operation in done)


def test_the_emergency_stop_stops_the_robot_until_it_is_released(tab, server, made, robot):
    tab.open("/")
    tab.wait(lambda: tab.text("state-counter") == "acting")
    began = robot.counted
    wait_until(lambda: robot.counted > began, lambda: "the robot moves")
    tab.mark("stop-counter").click()
    tab.wait(lambda: tab.text("state-counter") == "EMERGENCY STOP")
    assert "counter" in tab.text("fleet-summary")
    stood = robot.counted
    tab.page.wait_for_timeout(600)
    assert robot.counted == stood
    tab.mark("release-counter").click()
    tab.mark("sure").click()
    wait_until(lambda: robot.counted > stood, lambda: "the robot moves again")
    tab.mark("stop-all").click()
    tab.wait(lambda: tab.text("state-counter") == "EMERGENCY STOP")
    tab.mark("release-counter").click()
    tab.mark("sure").click()
    tab.wait(lambda: tab.text("state-counter") == "acting")


def test_every_page_opens_without_an_error_and_from_this_server_alone(tab, made, robot):
    for page in PAGES:
        path = page.path.replace("{experiment}", made).replace("{robot}", "counter")
        tab.open(path)
        tab.wait(lambda: tab.page.locator(".content").inner_text(), f"something on {path}")
        tab.page.wait_for_timeout(300)
    assert tab.errors == []
    assert tab.foreign == []


def test_a_viewer_sees_everything_and_no_button_that_works(opened, server, tokens, made, robot):
    viewer = Tab(opened, server.port, tokens["viewer"])
    for path in ("/", f"/experiments/{made}", f"/experiments/{made}/policies", "/new", "/settings"):
        viewer.open(path)
        viewer.wait(lambda: viewer.page.locator(".content").inner_text(), path)
        for mark in ("stop-all", "stop-counter", "do-stop", "create", "roll-back", "enrol"):
            assert viewer.mark(mark).count() == 0, (path, mark)
    viewer.open("/")
    viewer.wait(lambda: viewer.text("state-counter") == "acting")
    answer = viewer.page.evaluate(
        "async () => (await fetch('/api/v1/robots/counter/stop', {method: 'POST'})).status"
    )
    assert answer == 403
    viewer.close()


def test_a_viewers_socket_cannot_speak_for_an_operators_page(opened, server, tokens, tab, robot):
    """Not even one that knows the secret id of the page, and which button stops the robot."""
    page = tab.open("/")
    tab.wait(lambda: tab.text("state-counter") == "acting")
    client = page.evaluate("window.clientId ?? null") or _client_of(tab)
    element = page.evaluate("document.querySelector(\"[data-mark='stop-counter']\").id.slice(1)")
    viewer = Tab(opened, server.port, tokens["viewer"])
    viewer.open("/")
    forged = {"id": int(element), "client_id": client, "listener_id": None, "args": []}
    listeners = page.evaluate(
        "(id) => (mounted_app.elements[id].events || []).map((e) => e.listener_id)", int(element)
    )
    for listener in listeners:
        message = json.dumps(forged | {"listener_id": listener})
        viewer.page.evaluate(f"window.socket.emit('event', {message})")
    viewer.page.wait_for_timeout(700)
    stood = robot.counted
    wait_until(lambda: robot.counted > stood, lambda: "the robot moves on")
    assert tab.text("state-counter") in ("acting", "slow")  # as the machine's other work has it
    assert listeners
    page.evaluate(
        f"window.socket.emit('event', {json.dumps(forged | {'listener_id': listeners[0]})})"
    )
    tab.wait(lambda: tab.text("state-counter") == "EMERGENCY STOP", "the same from its own socket")
    tab.mark("release-counter").click()
    tab.mark("sure").click()
    tab.wait(lambda: tab.text("state-counter") == "acting")
    viewer.close()


def _client_of(tab):
    query = urllib.parse.urlsplit(tab.sockets[-1].url).query
    return urllib.parse.parse_qs(query)["client_id"][0]


def test_without_a_token_there_is_the_login_and_no_socket(opened, server, tab, made, tokens):
    stranger = Tab(opened, server.port)
    stranger.page.goto(stranger.base + "/")
    assert stranger.page.url.endswith("/login.html")
    url = tab.sockets[-1].url
    outcome = """(url) => new Promise((done) => {
      const socket = new WebSocket(url);
      socket.onopen = () => done("open");
      socket.onclose = () => done("closed");
    })"""
    assert stranger.page.evaluate(outcome, url) == "closed"
    stranger.page.fill("#token", tokens["viewer"])
    stranger.page.click("button")
    stranger.page.wait_for_url(stranger.base + "/")
    assert stranger.page.evaluate(outcome, url) == "closed"  # another's page
    stranger.close()


def test_a_page_from_elsewhere_opens_no_socket_with_an_operators_cookie(tab, made, tokens):
    url, cookie = tab.sockets[-1].url, {"Cookie": f"dreamfleet_token={tokens['operator']}"}
    with connect(url, origin=tab.base, additional_headers=cookie) as socket:
        assert socket.recv().startswith("0{")
    with pytest.raises(InvalidStatus, match="403"):
        connect(url, origin="http://evil.example", additional_headers=cookie)


def test_a_page_whose_token_is_revoked_says_so_and_acts_no_more(opened, server, home, made, robot):
    text = Tokens(home / "data").create("leaving", "operator", "test")[1]
    leaving = Tab(opened, server.port, text)
    leaving.open("/")
    leaving.wait(lambda: leaving.text("state-counter") == "acting")
    Tokens(home / "data").revoke("leaving", "test")
    leaving.wait(lambda: "no longer signed in" in leaving.page.inner_text("body"))
    leaving.mark("stop-counter").click()
    leaving.wait(lambda: "revoked" in leaving.page.inner_text("body"))
    assert server.robot("counter")["safety"] == "fresh"
    leaving.close()


def test_an_open_page_shows_the_gap_after_a_kill(opened, server, tokens, made, robot):
    server.wait_for(made, lambda found: found["state"] == "running")
    watching = Tab(opened, server.port, tokens["operator"])
    watching.open(f"/experiments/{made}")
    assert "server away" not in watching.text("events")
    server.kill()
    server.start()
    watching.wait(lambda: "server away" in watching.text("events"), "the gap as an event")
    assert "crashed or was killed" in watching.text("events")
    shown = watching.text("rows")
    watching.wait(lambda: watching.text("rows") != shown, "rows of the robot, which has come back")
    watching.close()


def test_the_dashboard_leaves_no_files_where_the_server_was_started(server):
    assert ".nicegui" not in os.listdir(os.getcwd())
