"""The words beside a learner's pictures say what is in them, by the names that agents report."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import Client, ui
from nicegui.elements.label import Label
from nicegui.page import page

from server.dashboard.dreams_panel import DreamsPanel, caption
from server.feed import News

SPACE = {
    "spaces": {
        "camera": {"dtype": "uint8", "shape": [64, 64, 3]},
        "vector": {"dtype": "float32", "shape": [3]},
    }
}


def test_an_open_loop_prediction_says_what_it_saw() -> None:
    strip = caption("open_loop_camera", is_camera=True)
    assert (strip.title, strip.rows) == ("camera", ("truth", "prediction", "error"))
    drawing = caption("open_loop_vector", is_camera=False)
    assert (drawing.title, drawing.rows, drawing.drawn) == ("vector", (), True)
    assert "truth grey, prediction orange" in drawing.about
    assert "sees five steps" in strip.about
    assert "sees five steps" in drawing.about


def test_world_models_pictures_are_no_predictions() -> None:
    seen, dreamt = caption("seen", is_camera=False), caption("dreamt", is_camera=False)
    assert seen.rows == ("truth", "redrawn")
    assert dreamt.rows == ()
    for words in (seen, dreamt):
        assert not words.drawn
        assert "five steps" not in words.about
        assert "orange" not in words.about


@pytest.mark.parametrize(
    ("name", "shown", "mark"),
    [
        ("seen", {"reconstruction", "truth", "redrawn"}, "dream-reconstruction"),
        ("dreamt", {"dream"}, "dream-dream"),
        ("open_loop_camera", {"camera", "truth", "prediction", "error"}, "dream-camera"),
        ("open_loop_vector", {"vector"}, "dream-vector"),
    ],
)
def test_a_picture_that_comes_is_shown_with_its_words(
    name: str, shown: set[str], mark: str
) -> None:
    experiment = SimpleNamespace(observation_space=SPACE)
    experiments = SimpleNamespace(get=lambda _: experiment)
    visit: Any = SimpleNamespace(service=SimpleNamespace(experiments=experiments))
    with Client(page("/dreams")) as client:
        drawn = DreamsPanel(visit, "e-1")
        drawn.refresh([News("report", "e-1", {"name": name, "time": 3.0})])
        elements = list(client.elements.values())
    words = {e.text for e in elements if isinstance(e, Label)}
    assert shown <= words
    rows = {"truth", "prediction", "error", "redrawn"}
    assert words & rows == shown & rows
    (picture,) = [e for e in elements if e.tag == "img"]
    assert picture.props["data-mark"] == mark
    assert f"name={name}&at=3.0" in picture.props["src"]
    assert isinstance(picture, ui.element)
