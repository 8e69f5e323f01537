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


def server_clock(url: str, clock: Clock, patience_s: float = 3.0) -> float | None:
    """Seconds by which the clock of the server at `url` (its REST API) is ahead of this one.

    Good to about half a second, which is what HTTP's Date header tells; None where none answers.
    """
    try:
        with urllib.request.urlopen(f"{url}/api/v1/health", timeout=patience_s) as answer:
            date = answer.headers["Date"]
    except (OSError, ValueError):
        return None
    # The header leaves out the fraction of the second: on average it is half a second old.
    return parsedate_to_datetime(date).timestamp() + 0.5 - clock.wall() if date else None


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
