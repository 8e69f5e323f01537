"""Whether a server answers a robot, without the robot's joining anything.

A Heartbeat without a Hello is answered with "a Hello first": that takes the way of every message,
keys included, starts no session, and leaves nothing behind but a count of refused messages.
"""

from __future__ import annotations

import statistics
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import zmq

from robot_client.address import check_address, knock
from robot_client.clock import Clock
from robot_client.errors import LinkError, MessageError
from robot_client.link import CurveKeys
from robot_client.messages import Heartbeat, Rejected, decode, encode

_TIMES = 5
_WATCH_S = 5.0
_PAUSE_S = 0.05
_TICK = Heartbeat(0, -1, "hold", "doctor", 0, 0.0, 0, -1, -1.0, 0.0, "", 0)


@dataclass(frozen=True)
class RoundTrip:
    """Seconds from a message to its answer: the median of some, and the longest."""

    median_s: float
    longest_s: float


def round_trip(
    address: str, keys: CurveKeys | None, clock: Clock, patience_s: float = 3.0
) -> RoundTrip:
    """Speak with the gateway at `address`.

    Raises LinkError when nobody answers there, or not to these keys, or in another protocol.
    """
    check_address(address, keys)
    knock(address, patience_s)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvtimeo = 0, int(patience_s * 1000)
        if keys is not None:
            dealer.curve_publickey = keys.own.public.encode()
            dealer.curve_secretkey = keys.own.secret.encode()
            dealer.curve_serverkey = keys.server.encode()
        dealer.connect(address)
        _answered(dealer)  # the first one waits for the connection
        times = sorted(_timed(dealer, clock) for _ in range(_TIMES))
    return RoundTrip(statistics.median(times), times[-1])


@dataclass(frozen=True)
class Offset:
    """How far a clock is ahead of this one: seconds, and by how much more or less it may be."""

    ahead_s: float
    within_s: float


def server_clock(url: str, clock: Clock, patience_s: float = 3.0) -> Offset | None:
    """How far the clock of the server at `url` (its REST API) is ahead of this one.

    HTTP's Date header leaves out the fraction of the second, and a server may write it anew but
    once a second, later when it is busy. So it is watched until it changes: when that was written,
    no second had passed since the time that it tells. Answers take their time too, which is part of
    how far off this may be. None where none answers, or the header stays as it is.
    """
    before, asked = None, 0.0
    end = clock.monotonic() + _WATCH_S
    while clock.monotonic() < end:
        asked_before, asked = asked, clock.wall()
        date = _date(f"{url}/api/v1/health", patience_s)
        if date is None:
            return None
        if before is not None and date > before:
            least, most = date - clock.wall(), date + 1 - asked_before
            return Offset((least + most) / 2, (most - least) / 2)
        before = date
        clock.sleep_until(clock.monotonic() + _PAUSE_S)
    return None


def _date(url: str, patience_s: float) -> float | None:
    """What the Date header of an answer says, in seconds since 1970."""
    try:
        with urllib.request.urlopen(url, timeout=patience_s) as answer:
            date = answer.headers["Date"]
    except (OSError, ValueError):
        return None
    return parsedate_to_datetime(date).timestamp() if date else None


def _timed(dealer: zmq.Socket[bytes], clock: Clock) -> float:
    begin = clock.monotonic()
    _answered(dealer)
    return clock.monotonic() - begin


def _answered(dealer: zmq.Socket[bytes]) -> None:
    dealer.send_multipart(encode(_TICK))
    try:
        frames = list(_frames(dealer))
        answer = decode(frames)
    except zmq.Again as error:
        why = "it listens, but does not answer: does it know this robot's key?"
        raise LinkError(why) from error
    except MessageError as error:
        raise LinkError(f"it answers in another protocol: {error}") from error
    if not isinstance(answer, Rejected) or answer.field != "hello":
        raise LinkError(f"it answers with {answer}"[:300])


def _frames(dealer: zmq.Socket[bytes]) -> Iterator[bytes]:
    yield from dealer.recv_multipart()
