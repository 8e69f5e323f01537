"""How curves are drawn: options of ECharts, in greys that do on dark and on light ground."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from robot_client.schema import Json

COLOURS = ("#4c8dff", "#ff9f43", "#2ecc8f", "#e86af0", "#ffd166", "#ff6b6b", "#4dd0e1", "#a78bfa")
_QUIET, _LINE = "#8791a0", "rgba(135,145,160,.22)"
_GROUNDS = ("rgba(135,145,160,.10)", "rgba(255,159,67,.14)")
_LEFT = {"color": _QUIET, "align": "left"}
Pairs = list[list[float]]


def chart(classes: str = "") -> ui.echart:
    """An empty chart; `show` fills it."""
    return ui.echart(_base()).classes(f"chart {classes}")


def show(made: ui.echart, x: str, series: list[Json], y: list[Json] | None = None) -> None:
    """Draw these series over an axis called `x`; `y` are its axes if there are more than one."""
    options = made.options
    options["xAxis"]["name"] = x
    options["yAxis"] = [_axis(**more) for more in (y or [{}])]
    options["grid"]["right"] = 52 if y and len(y) > 1 else 16
    options["series"] = series
    options["legend"]["data"] = [one["name"] for one in series if one["id"][0] != "~"]
    made.update()


def line(name: str, pairs: Pairs, colour: int, **more: Any) -> Json:
    """A curve."""
    about = {"id": name, "name": name, "type": "line", "data": pairs, "showSymbol": len(pairs) == 1}
    style = {"lineStyle": {"width": 2}, "itemStyle": {"color": COLOURS[colour % len(COLOURS)]}}
    return about | style | {"sampling": "lttb", "emphasis": {"disabled": True}} | more


def faint(name: str, pairs: Pairs, colour: int, dots: bool) -> Json:
    """What a curve is the mean of, behind it: not in the legend, nor told by the pointer."""
    about = {"id": f"~{name}", "name": name, "data": pairs, "silent": True, "z": 1}
    style = {"itemStyle": {"color": COLOURS[colour % len(COLOURS)], "opacity": 0.35}}
    if dots:
        return about | style | {"type": "scatter", "symbolSize": 5, "tooltip": {"show": False}}
    thin = {"lineStyle": {"width": 1, "opacity": 0.35}, "showSymbol": False, "sampling": "lttb"}
    return about | style | thin | {"type": "line", "tooltip": {"show": False}}


def band(name: str, low: Pairs, high: Pairs, colour: int) -> list[Json]:
    """The ground between two curves, as two that are stacked."""
    rest = [[x, up - down] for (x, down), (_, up) in zip(low, high, strict=True)]
    plain = {"type": "line", "stack": name, "lineStyle": {"opacity": 0}, "showSymbol": False}
    quiet = plain | {"silent": True, "tooltip": {"show": False}, "stackStrategy": "all"}
    fill = {"color": COLOURS[colour % len(COLOURS)], "opacity": 0.16}
    return [
        quiet | {"id": f"~{name}-low", "name": name, "data": low},
        quiet | {"id": f"~{name}-high", "name": name, "data": rest, "areaStyle": fill},
    ]


# An upright bar from the second number of a datum to its third, with a foot and a head.
_BAR = """(params, api) => {
  const [x, low] = api.coord([api.value(0), api.value(1)]), high = api.coord([0, api.value(2)])[1];
  const style = { stroke: api.visual("color"), lineWidth: 2, opacity: 0.75 };
  const across = (y) => ({ type: "line", shape: { x1: x - 6, x2: x + 6, y1: y, y2: y }, style });
  const up = { type: "line", shape: { x1: x, x2: x, y1: low, y2: high }, style };
  return { type: "group", children: [up, across(low), across(high)] };
}"""


def intervals(name: str, bars: Pairs, means: Pairs, colour: int) -> list[Json]:
    """Means as dots with the intervals that they lie in; `bars` are (x, lower, upper)."""
    style = {"itemStyle": {"color": COLOURS[colour % len(COLOURS)]}}
    quiet = {"silent": True, "tooltip": {"show": False}, "encode": {"x": 0, "y": [1, 2]}}
    bar = {"id": f"~{name}", "name": name, "type": "custom", "data": bars, ":renderItem": _BAR}
    dot = {"id": name, "name": name, "type": "scatter", "data": means, "symbolSize": 11}
    return [bar | quiet | style, dot | style | {"z": 3}]


def _base() -> Json:
    return {
        "animation": False,
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "color": list(COLOURS),
        "grid": {"left": 56, "right": 16, "top": 30, "bottom": 40},
        "legend": {
            "top": 0,
            "type": "scroll",
            "icon": "roundRect",
            "itemWidth": 14,
            "itemHeight": 4,
            "textStyle": {"color": _QUIET},
        },
        "tooltip": {
            "trigger": "axis",
            "axisPointer": {"type": "line", "lineStyle": {"color": _QUIET}},
            "confine": True,
            "backgroundColor": "rgba(20,24,31,.94)",
            "borderWidth": 0,
            "padding": [5, 9],
            "textStyle": {"color": "#e5e9f0", "fontSize": 12},
            # NiceGUI takes what stands under a name with a colon for JavaScript.
            ":valueFormatter": "(value) => (value === null ? '' : +Number(value).toPrecision(4))",
        },
        "dataZoom": [{"type": "inside", "filterMode": "none"}],
        "xAxis": _axis(nameLocation="middle", nameGap=24, splitLine={"show": False}),
        "yAxis": [_axis()],
        "series": [],
    }


def _axis(**more: Any) -> Json:
    axis = {
        "type": "value",
        "scale": True,
        "axisLine": {"lineStyle": {"color": _LINE}},
        "axisLabel": {"color": _QUIET, "hideOverlap": True},
        "splitLine": {"lineStyle": {"color": _LINE}},
        "nameTextStyle": {"color": _QUIET},
    }
    return axis | more


def stacked(names: list[str], top: int, height: int, gap: int) -> Json:
    """Options of strips one below the other, over the same x, with one pointer through all."""
    options = _base()
    places = range(len(names))
    options["grid"] = [
        {"left": 56, "right": 16, "top": top + place * (height + gap), "height": height}
        for place in places
    ]
    options["xAxis"] = [
        _axis(gridIndex=place, splitLine={"show": False}, min="dataMin", max="dataMax")
        for place in places
    ]
    options["yAxis"] = [
        _axis(gridIndex=place, name=name, nameGap=6, nameTextStyle=_LEFT)
        for place, name in enumerate(names)
    ]
    options["legend"] = {"show": False}
    # The values stand beside the pointer while it is over the chart, and only then: page.js.
    options["tooltip"] |= {"showContent": False, ":formatter": "(found) => lookThrough.told(found)"}
    options["axisPointer"] = {"link": [{"xAxisIndex": "all"}]}
    options["dataZoom"][0]["xAxisIndex"] = list(places)
    return options


def strip_line(name: str, pairs: list[list[Any]], place: int, colour: int) -> Json:
    """A curve in one of the strips."""
    more = {"xAxisIndex": place, "yAxisIndex": place, "lineStyle": {"width": 1.5}}
    return line(name, pairs, colour, **more) | {"sampling": None, "showSymbol": False}


def areas(stretches: list[tuple[str, int, int]]) -> Json:
    """Names over stretches of x, on grounds of different grey."""
    return {
        "silent": True,
        "label": {"color": _QUIET, "position": "insideTop"},
        "data": [
            [
                {"name": name, "xAxis": first, "itemStyle": {"color": _GROUNDS[place % 2]}},
                {"xAxis": last},
            ]
            for place, (name, first, last) in enumerate(stretches)
        ],
    }
