"""A metric over rows, minutes or updates, with that of other experiments beside it."""

from __future__ import annotations

from urllib.parse import quote

from nicegui import ui

from robot_client.schema import Json
from server.api.metrics import EPISODE_RETURN, EVALUATION_RETURN, HUMAN_SHARE, INTERVENTIONS
from server.dashboard import charts
from server.dashboard.parts import named, panel
from server.dashboard.series import Axis, Curves
from server.dashboard.visit import Refused, Visit
from server.feed import News

_AXES = {"rows": "rows", "minutes": "minutes", "updates": "updates"}
_NAMES = {
    EPISODE_RETURN: "return per episode",
    EVALUATION_RETURN: "return without exploring",
    HUMAN_SHARE: "share of steps by people",
    INTERVENTIONS: "take-overs per episode",
}
_DRAW_S = 0.9  # a curve that grows more often than this is not easier to read


class CurvePanel:
    """The curve that the page is about, live.

    Args:
        visit: the page.
        curves: what is known of metrics.
        experiment: the one that is always shown.
    """

    def __init__(self, visit: Visit, curves: Curves, experiment: str) -> None:
        self._visit, self._curves, self._experiment = visit, curves, experiment
        self._drawn_at = 0.0
        self._changed = True
        with panel("Curves"):
            with ui.element("div").classes("bar"):
                self._controls()
                self._export()
            self._chart = charts.chart().props("data-mark=curves")

    async def refresh(self, heard: list[News]) -> None:
        """Take what is new, and draw it if there is something."""
        self._changed |= await self._curves.hear(heard)
        self._offer()
        if self._changed and self._visit.house.now() - self._drawn_at >= _DRAW_S:
            await self.draw()

    async def draw(self) -> None:
        """Draw what is chosen now."""
        self._changed, self._drawn_at = False, self._visit.house.now()
        name, axis, window = self._metric.value, self._axis.value, int(self._window.value)
        names = {e.id: e.name for e in self._visit.service.experiments.all()}
        shown = [self._experiment, *(self._others.value or [])]
        series = []
        for place, experiment in enumerate(shown):
            try:
                await self._curves.want(experiment, [name])
            except Refused:
                continue  # it has been deleted since
            series += self._series(experiment, names.get(experiment, ""), name, axis, window, place)
        charts.show(self._chart, axis, series)

    def _series(
        self, experiment: str, title: str, name: str, axis: Axis, window: int, place: int
    ) -> list[Json]:
        series = self._curves.of(experiment, name)
        label = f"{title} ({experiment[:4]})" if place else title
        drawn = [charts.line(label, series.over(axis, window), place)]
        if window > 1:
            drawn.insert(0, charts.faint(label, series.over(axis), place, name == EPISODE_RETURN))
        return drawn

    def _controls(self) -> None:
        props = "dense outlined options-dense"
        self._metric = ui.select(_NAMES, value=EPISODE_RETURN, label="metric", on_change=self.draw)
        self._metric.props(props).classes("metric").props("data-mark=metric")
        self._others = ui.select(
            {}, value=[], multiple=True, label="compare with", on_change=self.draw
        )
        self._others.props(f"{props} use-chips clearable").classes("others").props(
            "data-mark=compare"
        )
        self._axis = ui.toggle(_AXES, value="rows", on_change=self.draw)
        self._axis.props("dense no-caps unelevated toggle-color=primary").props("data-mark=axis")
        with ui.element("div").classes("line"):
            ui.label("smoothing").classes("quiet")
            self._window = ui.slider(min=1, max=50, value=10, on_change=self.draw)
        self._window.props("dense label throttle=300").classes("smoothing").props(
            "data-mark=smoothing"
        )

    def _export(self) -> None:
        target = f"/api/v1/metrics/export.csv?experiment={quote(self._experiment, safe='')}"
        with ui.link(target=target).props("download").classes("quiet line tight") as link:
            ui.icon("download", size="20px")
            ui.label("CSV")
        named(link, "export-metrics").tooltip("every value of all metrics of the learner")

    def _offer(self) -> None:
        """What there is to choose from."""
        service = self._visit.service
        known = sorted(service.experiments.latest_metrics(self._experiment))
        metrics = _NAMES | {name: name for name in known}
        if self._metric.options != metrics:
            self._metric.set_options(metrics)
        others = {
            e.id: f"{e.name} ({e.id[:4]})"
            for e in service.experiments.all()
            if e.id != self._experiment
        }
        if self._others.options != others:
            chosen = [one for one in self._others.value or [] if one in others]
            self._others.set_options(others, value=chosen)
