"""What an experiment has stored: rows, checkpoints, and exports of its episodes."""

from __future__ import annotations

from nicegui import ui

from server.dashboard.checkpoints_panel import CheckpointsPanel
from server.dashboard.export_panel import ExportPanel
from server.dashboard.replay_panel import ReplayPanel
from server.dashboard.visit import Visit
from server.errors import NotFound
from server.feed import News

_LOOK_S = 2.0  # rows come all the time, and counting them reads the disk


async def build(visit: Visit, experiment: str) -> None:
    """The page."""
    try:
        visit.service.experiments.get(experiment)
    except NotFound as error:
        ui.label(str(error)).classes("trouble")
        return
    with ui.element("div").classes("two even"):
        with ui.element("div").classes("stack-y"):
            export = ExportPanel(visit, experiment)
            checkpoints = CheckpointsPanel(visit, experiment)
        replay = ReplayPanel(visit, experiment)
    looked_at = 0.0

    async def refresh(_news: list[News]) -> None:
        nonlocal looked_at
        try:
            visit.service.experiments.get(experiment)
        except NotFound:
            ui.navigate.to("/experiments")
            return
        await export.refresh()
        if visit.house.now() - looked_at >= _LOOK_S:
            looked_at = visit.house.now()
            await checkpoints.refresh()
            await replay.refresh()

    await refresh([])
    visit.follow(refresh)
