"""The dashboard offers what REST does: a new route has a page, or stands here with the reason."""

import re

import pytest

from server.app import build_app
from server.dashboard.mount import is_page
from tests.unit.house import in_house
from tests.unit.page_calls import HOME, asked, calls_of, route

# What makes no sense in a browser.
FOR_MACHINES = {
    "get_health": "for whoever restarts the server",
    "get_readiness": "for whoever restarts the server",
    "get_prometheus_metrics": "for Prometheus",
    "watch_live": "pages hear of the same news over a socket of their own",
}
# What pages show without asking for it.
SHOWN = {
    "list_experiments": "from memory: the server's own pages look there",
    "list_robots": "from memory",
    "get_robot": "from memory",
    "whoami": "from the request that has opened the page",
    "list_metric_names": "from memory: what the curves may show",
    "list_experiment_events": "list_events, of one experiment",
    "get_evaluation": "its list has all of it",
    "get_policy": "its list has all of it",
    "get_episode": "its list has all of it",
    "get_dataset": "its list has all of it",
    "get_job": "its list has all of it",
}
# What the browser's own scripts ask for -> which one, and what it says there.
BY_SCRIPTS = {
    "login": ("login.html", 'fetch("/api/v1/login"'),
    "logout": ("page.js", 'fetch("/api/v1/logout"'),
    "import_dataset": ("page.js", 'open("PUT", `/api/v1/datasets/${encodeURIComponent(name)}'),
    "get_episode_frame": ("page.js", "`${picture.path}/${row}.png`"),
    "take_teleop": ("teleop.js", 'driving.ask("PUT"'),
    "release_teleop": ("teleop.js", 'driving.ask("DELETE"'),
}


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    """Operation of the OpenAPI document -> method and path."""

    async def document(house):
        return build_app(house.service).openapi()

    paths = in_house(tmp_path_factory.mktemp("parity"), document)["paths"]
    return {
        about["operationId"]: (method.upper(), path)
        for path, methods in paths.items()
        for method, about in methods.items()
    }


def test_every_operation_has_a_page_or_a_reason(operations):
    calls = asked()
    on_pages = {
        name for name, (method, path) in operations.items() if (method, route(path)) in calls
    }
    elsewhere = [*FOR_MACHINES, *SHOWN, *BY_SCRIPTS]
    assert set(operations) - on_pages - set(elsewhere) == set(), "no page offers it"
    assert on_pages & set(elsewhere) == set(), "a page offers it, so it needs no reason"
    assert set(elsewhere) <= set(operations), "there is no such operation"
    assert len(set(elsewhere)) == len(elsewhere)


@pytest.mark.parametrize("name", BY_SCRIPTS)
def test_the_browsers_scripts_ask_for_the_others(name):
    file, words = BY_SCRIPTS[name]
    assert words in (HOME / "static" / file).read_text()


def test_no_page_asks_for_what_there_is_not(operations):
    known = [
        (method, re.compile(re.sub(r"{\w+}", "[^/]+", path)))
        for method, path in operations.values()
    ]
    lost = {
        (method, path)
        for method, path in asked()
        if not any(method == one and pattern.fullmatch(path) for one, pattern in known)
    }
    assert {path for method, path in lost if method != "GET" or not is_page(path)} == set()


def test_calls_are_read_from_the_sources():
    source = """
class Panel:
    def __init__(self, visit, experiment):
        self._visit, self._path = visit, f"/experiments/{quote(experiment, safe='')}/replay"

    async def load(self):
        await self._visit.get(self._path, limit=3)
        self.picture.props["src"] = f"/api/v1{self._path}/picture?at={now}"

    async def verify(self):
        path = f"{self._path}/verify"
        await self._visit.act("POST", path)

    async def other(self, path):
        await partial(self._visit.ask, "DELETE", f"{path}/{verb}")
        names.get("no path")

class Other:
    def __init__(self, path):
        self._path = path
        ui.link(target="/somewhere?else=1")
        ask("PUT", self._path)
"""
    replay = "/api/v1/experiments/*/replay"
    assert calls_of(source) == {
        ("GET", replay),
        ("GET", f"{replay}/picture"),
        ("GET", "/somewhere"),
        ("POST", f"{replay}/verify"),
        ("DELETE", f"{replay}/verify/*"),
        ("PUT", f"{replay}/verify"),
    }
