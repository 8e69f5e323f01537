"""How long after something has happened an open page of the dashboard shows it.

Server, robots and browser run on this machine and share its clock. Rows begin when the gateway has
made them durable, events when they are noted; both end when the browser's document has changed.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import Page, async_playwright

from benchmarks.machine import Payload, Row, load
from benchmarks.serving import experiment, free_port, our_robot, robot
from robot_client.clock import SystemClock
from robot_client.schema import Chunk
from server.app import serve_web
from server.service import Service
from tests.browser.browser import FLAGS, chromium

EVENTS, EVERY_S = 60, 0.33  # not in step with what the page does twice a second
PATIENCE_S = 120.0

# Notes what the page says and when, in seconds since 1970.
WATCH = """() => {
  window.seen = { rows: [], events: [] };
  const known = new Set();
  const now = () => (performance.timeOrigin + performance.now()) / 1000;
  const rows = document.querySelector("[data-mark='rows'] .value");
  const look = () => {
    window.seen.rows.push([now(), Number(rows.textContent.replaceAll(",", ""))]);
    const said = document.querySelector("[data-mark='events']").textContent;
    for (const [text] of said.matchAll(/mark \\d+!/g))
      if (!known.has(text)) {
        known.add(text);
        window.seen.events.push([now(), text]);
      }
  };
  const everything = { subtree: true, childList: true, characterData: true };
  new MutationObserver(look).observe(document.body, everything);
}"""


def measure(quick: bool = False) -> Payload:
    """A row for rows that were stored, one for events."""
    return {"rows": asyncio.run(_measure(6 if quick else EVENTS))}


async def _measure(events: int) -> list[Row]:
    port = free_port()
    async with AsyncExitStack() as things:
        folder = Path(things.enter_context(tempfile.TemporaryDirectory()))
        made = experiment(folder / "server", port, agent="random", config={})
        service, found = await things.enter_async_context(made)
        at_port_0 = replace(service, settings=replace(service.settings, port=0))
        address = await things.enter_async_context(serve_web(at_port_0))
        stored = _listen(service)
        robots = things.enter_context(ExitStack())
        robots.enter_context(robot(our_robot(), "counting", port, folder))
        play = await things.enter_async_context(async_playwright())
        browser = await play.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        page = await browser.new_page()
        await page.goto(f"{address}/experiments/{found.id}", timeout=1000 * PATIENCE_S)
        await _until_rows(page)
        noted = await _note(service, found.id, events)
        await asyncio.sleep(2.0)
        seen = await page.evaluate("window.seen")
        await browser.close()
    return [_row("rows stored", _of_rows(stored, seen["rows"])), _row("event", _of(noted, seen))]


def _listen(service: Service) -> list[tuple[float, int]]:
    """Times at which rows were durable, and how many there were then; grows."""
    stored, clock = [], SystemClock()
    inner = service.experiments.stored

    def told(name: str, experiment_id: str, chunk: Chunk) -> None:
        inner(name, experiment_id, chunk)
        stored.append((clock.wall(), service.experiments.get(experiment_id).rows))

    service.experiments.stored = told  # type: ignore[method-assign]
    return stored


async def _until_rows(page: Page) -> None:
    rows = "document.querySelector(\"[data-mark='rows'] .value\")?.textContent"
    ready = f"!['0', undefined].includes({rows})"
    await page.wait_for_function(ready, timeout=1000 * PATIENCE_S)
    await page.evaluate(WATCH)


async def _note(service: Service, name: str, events: int) -> dict[str, float]:
    """Events, and when they were noted."""
    noted, clock = {}, SystemClock()
    for number in range(events):
        text = f"mark {number}!"
        noted[text] = clock.wall()
        service.experiments.journal.note("benchmark", text, name)
        await asyncio.sleep(EVERY_S)
    return noted


def _of_rows(stored: list[tuple[float, int]], seen: list[list[float]]) -> list[float]:
    """Seconds from each count of rows to the first that is shown and not less."""
    began = seen[0][0] if seen else float("inf")
    shown = ((t, next((s for s, rows in seen if rows >= count), None)) for t, count in stored)
    return [at - t for t, at in shown if at is not None and t >= began]


def _of(noted: dict[str, float], seen: dict[str, Any]) -> list[float]:
    shown = {text: time for time, text in seen["events"]}
    assert shown.keys() >= noted.keys(), f"never shown: {noted.keys() - shown.keys()}"
    return [shown[text] - time for text, time in noted.items()]


def _row(what: str, delays: list[float]) -> Row:
    p50, p99 = np.percentile(delays, [50, 99])
    return {
        "what": what,
        "samples": len(delays),
        "p50_ms": 1e3 * p50,
        "p99_ms": 1e3 * p99,
        "max_ms": 1e3 * max(delays),
        "load1": load(),
    }
