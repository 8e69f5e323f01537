"""The pages in a browser, on top of REST: what a page changes, it asks of REST with the visitor's
own token, so that roles, origins and the audit log are those of REST.

A new page is one file and one row here. Nothing of this loads NiceGUI; `mount` does, once the
server is up.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Place = Literal["main", "experiment", "robot"]


class Page(NamedTuple):
    """A page of the dashboard.

    Args:
        path: as FastAPI writes it. Those of an experiment or a robot have its name in it, as
            `{experiment}` or `{robot}`, and so have the functions that build them.
        title: in the navigation.
        icon: of Material Icons.
        place: the navigation that it stands in: of all pages, of an experiment or of a robot.
        build: `module:function`; called with the `Visit`, and with what the path holds.
    """

    path: str
    title: str
    icon: str
    place: Place
    build: str


NOWHERE = Page("", "No such page", "", "main", "")  # stands in no navigation
PAGES = (
    Page("/", "Fleet", "precision_manufacturing", "main", "server.dashboard.fleet:build"),
    Page("/experiments", "Experiments", "science", "main", "server.dashboard.experiments:build"),
    Page("/new", "New", "add_circle_outline", "main", "server.dashboard.new_experiment:build"),
    Page("/datasets", "Datasets", "storage", "main", "server.dashboard.datasets:build"),
    Page("/log", "Log", "receipt_long", "main", "server.dashboard.log:build"),
    Page("/settings", "Settings", "vpn_key", "main", "server.dashboard.settings:build"),
    Page(
        "/experiments/{experiment}",
        "Learning",
        "show_chart",
        "experiment",
        "server.dashboard.experiment:build",
    ),
    Page(
        "/experiments/{experiment}/episodes",
        "Episodes",
        "movie",
        "experiment",
        "server.dashboard.episodes:build",
    ),
    Page(
        "/experiments/{experiment}/policies",
        "Policies",
        "hub",
        "experiment",
        "server.dashboard.policies:build",
    ),
    Page(
        "/experiments/{experiment}/evaluations",
        "Evaluations",
        "fact_check",
        "experiment",
        "server.dashboard.evaluations:build",
    ),
    Page(
        "/experiments/{experiment}/data",
        "Data",
        "storage",
        "experiment",
        "server.dashboard.data:build",
    ),
    Page(
        "/robots/{robot}/drive",
        "Drive",
        "sports_esports",
        "robot",
        "server.dashboard.teleop:build",
    ),
)
