"""Rows of segments that were set aside as damaged: all that can still be read, and what cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_client.schema import Columns
from robot_client.segments import (
    PREFIX,
    UNREADABLE,
    Run,
    Segment,
    column_values,
    next_record,
    record_at,
    scan_record,
)


@dataclass(frozen=True)
class Salvage:
    """What a segment still holds.

    Args:
        segment: its runs are those of whole rows; one ends before a hole, another begins behind.
            Seqs behind a hole that took columns with it are too small: nobody knows how many rows
            it took.
        holes: (begin, end) of the bytes that are no whole record.
        orphans: whole rows behind a hole in which the columns and the episode may have changed.
    """

    segment: Segment
    holes: tuple[tuple[int, int], ...]
    orphans: int


def salvage(segment: Segment, data: bytes) -> Salvage:
    """Read an empty segment's `data`, over what is damaged in it."""
    holes: list[tuple[int, int]] = []
    orphans, known = 0, False  # whether the columns and the episode are
    while segment.size < len(data):
        found = record_at(data, segment.size)
        if found is None:
            end = next_record(data, segment.size + 1)
            holes.append((segment.size, end))
            known = known and _goes_on(segment, end)
            segment.size = end
            continue
        kind = bytes(found[1][:1])
        if kind == b"C" or (kind == b"R" and known):
            known = _taken(segment, found[1])
        orphans += kind == b"R" and not known
        segment.size = found[0]
    segment.runs = [run for run in segment.runs if run.rows]
    return Salvage(segment, tuple(holes), orphans)


def rows_of(run: Run, data: bytes) -> Columns:
    """The values of a run, whose rows are whole."""
    block = np.frombuffer(data, np.uint8, run.rows * run.stride, run.offset)
    payloads = block.reshape(run.rows, run.stride)[:, PREFIX.size :]
    return {column.name: column_values(payloads, column) for column in run.columns}


def _goes_on(segment: Segment, end: int) -> bool:
    """Whether only rows can have stood between a segment's size and `end`; their run is split.

    Rows of another episode have columns before them, so that what is missing is not so many rows.
    """
    run = segment.runs[-1]
    missing, rest = divmod(end - segment.size, run.stride)
    if rest:
        return False
    place = (run.next_seq + missing, end, run.columns, run.stride, run.task, run.tag)
    segment.runs.append(Run(run.episode, *place))
    return True


def _taken(segment: Segment, payload: memoryview) -> bool:
    """Let a segment have one more record; False if it cannot belong to it."""
    try:
        scan_record(segment, payload)
    except UNREADABLE:
        return False
    return True
