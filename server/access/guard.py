"""Who is calling, by the token that comes with the call.

On loopback everybody is an operator until the first token is made; from then on tokens are needed
on every address, also when all have been revoked. On any other address they are needed always.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from robot_client.clock import Clock, SystemClock
from server.access.tokens import Role, Tokens
from server.errors import TooManyAttempts, Unauthorized
from server.settings import Settings

ATTEMPTS = 10  # wrong ones of an address that are answered one by one
WINDOW_S = 60.0
_ADDRESSES = 1000  # remembered; more cannot fill the memory


@dataclass(frozen=True)
class Caller:
    """Who does something: name of the token, or `loopback`, and what it may do."""

    name: str
    role: Role


LOOPBACK = Caller("loopback", "operator")


class Guard:
    """Knows callers, and counts wrong attempts. Lives on the event loop.

    A right token is let in whatever came from its address before: behind a proxy all share one.
    What the limit spares is the audit log; a token of 256 random bits needs no protection by it.
    """

    def __init__(self, settings: Settings, tokens: Tokens, clock: Clock | None = None) -> None:
        self.tokens = tokens
        self._far = not settings.is_loopback
        self._clock = clock or SystemClock()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    @property
    def closed(self) -> bool:
        """Whether callers need a token. Raises AccessError."""
        return self._far or bool(self.tokens.all())

    def caller(self, text: str | None, address: str, forwarded: bool = False) -> Caller:
        """Who is calling.

        Args:
            text: the token, None without one.
            address: where the call comes from.
            forwarded: a proxy stands between, so that loopback means nothing.

        Raises:
            Unauthorized: a token is needed, and this is none.
            TooManyAttempts: it is wrong, and not the first one.
            AccessError: the tokens cannot be read.
        """
        if not self.closed and not forwarded:
            return LOOPBACK
        if text is None:
            raise Unauthorized("a token is needed; make one: dreamfleet tokens create")
        found = self.tokens.check(text)
        if found is None:
            self.failed(address)
            raise Unauthorized("this token is unknown or revoked")
        return Caller(found.name, found.role)

    def failed(self, address: str) -> None:
        """Count a wrong attempt. Raises TooManyAttempts when there were ATTEMPTS in WINDOW_S."""
        now = self._clock.monotonic()
        recent = [time for time in self._wrong.pop(address, []) if now - time < WINDOW_S]
        limited = len(recent) >= ATTEMPTS
        self._wrong[address] = recent if limited else [*recent, now]
        if len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)
        if limited:
            raise TooManyAttempts(f"{ATTEMPTS} wrong attempts within {WINDOW_S:.0f} s; wait")
