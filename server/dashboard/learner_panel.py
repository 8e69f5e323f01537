"""How fast an experiment's learner is, and what it waits for."""

from __future__ import annotations

from nicegui import ui

from server.dashboard import charts
from server.dashboard.parts import panel
from server.dashboard.series import Curves
from server.dashboard.visit import Visit

SPEED, WAIT = "learner/updates_per_s", "learner/wait_share"
THROTTLE, RATIO = "learner/throttle_share", "learner/train_ratio"
NAMES = [SPEED, WAIT, THROTTLE, RATIO]
_DRAW_S = 3.0


class LearnerPanel:
    """Speed, waits and train ratio over minutes.

    Args:
        visit: the page.
        curves: what is known of metrics.
        experiment: whose learner.
    """

    def __init__(self, visit: Visit, curves: Curves, experiment: str) -> None:
        self._visit, self._curves, self._experiment = visit, curves, experiment
        self._drawn_at = 0.0
        with panel("Learner"):
            self._none = ui.label("It has said nothing yet.").classes("quiet")
            self._speed = charts.chart("low").props("data-mark=learner-speed")
            self._ratio = charts.chart("low").props("data-mark=learner-ratio")

    def refresh(self) -> None:
        """Draw, unless that has just been done."""
        now = self._visit.house.now()
        if now - self._drawn_at < _DRAW_S:
            return
        self._drawn_at = now
        known = any(self._pairs(name) for name in NAMES)
        self._none.set_visibility(not known)
        for drawn in (self._speed, self._ratio):
            drawn.set_visibility(known)
        self._draw_speed()
        self._draw_ratio()

    def _draw_speed(self) -> None:
        speed, wait, throttle = (self._pairs(name) for name in (SPEED, WAIT, THROTTLE))
        series = [
            charts.line("updates/s", speed, 0),
            charts.line("% waiting for data", _percent(wait), 5, yAxisIndex=1),
            charts.line("% throttled by the ratio", _percent(throttle), 4, yAxisIndex=1),
        ]
        charts.show(self._speed, "minutes", series, [{"min": 0}, {"min": 0, "max": 100}])

    def _draw_ratio(self) -> None:
        got = self._pairs(RATIO)
        settings = self._visit.service.experiments.get(self._experiment).settings
        asked = (
            [[x, float(settings["train_ratio"])] for x in (got[0][0], got[-1][0])] if got else []
        )
        series = [
            charts.line("train ratio got", got, 2),
            charts.line("asked", asked, 1, lineStyle={"type": "dashed", "width": 1.5}),
        ]
        charts.show(self._ratio, "minutes", series, [{"min": 0}])

    def _pairs(self, name: str) -> charts.Pairs:
        return self._curves.of(self._experiment, name).over("minutes")


def _percent(pairs: charts.Pairs) -> charts.Pairs:
    return [[x, 100 * y] for x, y in pairs]
