"""What commands print for people: lines with units, where `--json` prints objects."""

from __future__ import annotations

from collections.abc import Iterator

from robot_client.enrol import Enrolment
from robot_client.ports import Episode, Summary
from robot_client.schema import Json


def episode_line(episode: Episode) -> str:
    """One episode."""
    return (
        f"episode {episode.number}: {episode.steps} steps, return {episode.total_reward:.1f},"
        f" policy {episode.policy_version}, {episode.ending}"
    )


def summary_lines(summary: Summary) -> Iterator[str]:
    """A whole run."""
    yield (
        f"{_many(summary.episodes, 'episode')}, {_many(summary.steps, 'step')}, "
        f"{_many(summary.rows, 'row')} recorded; {_many(summary.swaps, 'policy', 'policies')} "
        f"taken up; {_many(summary.missed_ticks, 'tick')} missed"
    )
    if summary.steps:
        median, slow = summary.latency_p50 * 1000, summary.latency_p99 * 1000
        yield f"choosing an action took {median:.1f} ms, and {slow:.1f} ms at the 99th percentile"
    if summary.interventions:
        each = ", ".join(f"{name} {n} times" for name, n in summary.interventions.items())
        yield f"actions changed for safety: {each}"


def spool_lines(found: Json) -> Iterator[str]:
    """What waits in a spool, and what was done with it."""
    rows = _many(found["rows"], "row")
    where = found["directory"]
    if "discarded" in found:
        yield f"{where}: {rows} given up, in episodes that go on being numbered; nothing waits"
    elif "holes" in found:
        yield f"{where}: {rows} could be read and are in {found['out']}, a file for each stretch"
        for name, holes in found["holes"].items():
            yield from (f"  {name}: bytes {begin} to {end} cannot be read" for begin, end in holes)
        if found["orphans"]:
            left = _many(found["orphans"], "row")
            yield f"  {left} left out: what says their columns and episode is damaged"
    elif "out" in found:
        yield f"{where}: {rows} copied to {found['out']}, a file per chunk; they wait here still"
    else:
        used = "; a robot is using it" if found["in_use"] else ""
        yield f"{where}: {rows if found['rows'] else 'nothing'} to be delivered{used}"
        if found["rows"]:
            size, last = found["bytes"] / 1e3, found["next_seq"] - 1
            yield f"  numbers {found['first_seq']} to {last}; {size:.1f} kB on disk"
    if "problems" in found:
        yield from (f"  {problem}" for problem in found["problems"] or ["every row is whole"])


def enrolment_lines(made: Enrolment) -> Iterator[str]:
    """What is left to be done until the robot can join."""
    yield f"{made.robot}'s public key is {made.key}"
    if made.server is not None:
        yield f"It trusts the server whose public key is {made.server}"
    if made.enrolled:
        yield "All is done here and there. Start it:"
        yield f"  dreamfleet-robot run ROBOT --name {made.quoted} --server tcp://SERVER:5555"
        return
    yield f"On the server, run:\n  {made.command}"
    if made.server is None:
        yield "and then, on this robot, what that prints."


def _many(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
