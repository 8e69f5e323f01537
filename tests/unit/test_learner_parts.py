from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robot_client.clock import ManualClock
from server.channel import Channel
from server.job import Job
from server.pictures import picture
from server.training import MeanMetrics, make_agent, pick_device


def wait(channel: Channel, wanted: str) -> list[str]:
    heard: list[str] = []
    while heard[-1:] != [wanted]:
        command = channel.command()
        if command is not None:
            heard.append(command)
    return heard


def test_channel_obeys_lines_and_takes_the_end_for_a_stop() -> None:
    read, write = os.pipe()
    said = io.StringIO()
    with os.fdopen(read) as commands:
        channel = Channel(commands, said)
        with os.fdopen(write, "w") as parent:
            parent.write('{"do": "pause"}\nnonsense\n{"do": "resume"}\n')
        assert wait(channel, "stop") == ["pause", "resume", "stop"]
    event = json.loads(said.getvalue())
    assert event["event"] == "log"
    assert "nonsense" in event["text"]


def test_channel_takes_a_parent_that_no_longer_listens_for_a_stop() -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    read, write = os.pipe()
    with os.fdopen(read) as commands:
        channel = Channel(commands, Gone())
        channel.say("ready", updates=1)
        assert channel.command() == "stop"
        os.close(write)
        wait(channel, "stop")


def test_means_are_taken_once() -> None:
    metrics = MeanMetrics()
    assert metrics.take() == {}
    for value in (1.0, 3.0):
        metrics.add({"loss": torch.tensor(value)})
    assert metrics.take() == {"loss": 2.0}
    assert metrics.take() == {}
    metrics.add({})
    assert metrics.take() == {}


def test_means_leave_what_they_were_given_alone() -> None:
    metrics, loss, late = MeanMetrics(), torch.tensor(1.0), torch.tensor(6, dtype=torch.int64)
    for more in ({}, {"late": late}, {}):
        metrics.add({"loss": loss, **more})
    assert (loss.item(), late.item()) == (1.0, 6)
    assert metrics.take() == {"loss": 1.0, "late": 2.0}


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (np.zeros((20, 16, 16, 3), np.uint8), (12 * 96, 96)),
        (np.zeros((5, 48, 32, 1), np.uint8), (5 * 96, 144)),
        (np.random.default_rng(0).normal(size=(9, 4, 2)).astype(np.float32), (560, 360)),
    ],
)
def test_pictures_are_png_of_the_right_size(data: np.ndarray, size: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(picture(data)))
    assert image.format == "PNG"
    assert image.size == size


def test_a_picture_shows_its_frames_in_order() -> None:
    video = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    image = np.asarray(Image.open(io.BytesIO(picture(video))))
    assert image[0, :: image.shape[1] // 3, 0][:3].tolist() == [0, 1, 2]


def test_a_job_builds_its_agent_from_plain_json(tmp_path: Path) -> None:
    job = {
        "id": "e1",
        "agent": "random",
        "config": {},
        "observation_space": {"type": "dict", "spaces": {"mode": {"type": "discrete", "n": 2}}},
        "action_space": {"type": "discrete", "n": 3},
    }
    (tmp_path / "experiment.json").write_text(json.dumps(job))
    agent = make_agent(Job.read(tmp_path))
    assert agent.device == pick_device("auto")
    (tmp_path / "experiment.json").write_text(json.dumps(job | {"train_ration": 3}))
    with pytest.raises(ValueError, match="train_ration"):
        Job.read(tmp_path)


def test_the_channel_knows_for_how_long_its_parent_has_been_gone():
    clock = ManualClock()
    parent, end = os.pipe()
    with os.fdopen(parent) as commands:
        channel = Channel(commands, io.StringIO())
        clock.advance(100)
        assert channel.orphaned_s(clock) == 0
        os.close(end)
        while channel.command() != "stop":
            threading.Event().wait(0.005)
        assert channel.orphaned_s(clock) == 0
        clock.advance(61)
        assert channel.orphaned_s(clock) == 61
