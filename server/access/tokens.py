"""Bearer tokens of people and programs, with roles.

Of a token only its SHA-256 is kept. Its secret half is 32 random bytes, which nobody guesses
however fast the hash is; a slow hash protects passwords, which people choose, and would cost every
request, an emergency stop too, a tenth of a second.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Literal

from robot_client.clock import Clock, SystemClock
from robot_client.schema import MAX_NAME_BYTES, is_name
from server.access.register import Entry, Register, Uses
from server.access.robot_keys import FOLDER
from server.errors import Conflict, Invalid, NotFound

Role = Literal["viewer", "operator"]
_PREFIX = "df"  # so that a token that has leaked can be searched for
_NOBODY = "0" * 64


class Token(Entry):
    """What is kept of a token.

    Args:
        id: the part of the token that is no secret.
        name: what people call it.
        role: viewer looks, operator also changes.
        sha256: of the secret part, hexadecimal.
        added_at, added_by: when and by whom.
        revoked_at, revoked_by: None while it is valid.
    """

    id: str
    name: str
    role: Role
    sha256: str
    added_at: float
    added_by: str
    revoked_at: float | None = None
    revoked_by: str | None = None


class Tokens:
    """The tokens of this server. Thread-safe, and safe against other processes.

    Args:
        data: the server's data directory.
        clock: tells the time.
    """

    def __init__(self, data: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._register = Register(data / FOLDER / "tokens.json", Token)
        self._uses = Uses(data / FOLDER / "tokens.uses.json", self._clock)

    def all(self) -> list[Token]:
        """Every token that was ever made, oldest first. Raises AccessError."""
        return list(self._register.entries().values())

    def used_at(self, token: Token) -> float | None:
        """When it was last used, in seconds since 1970, to the minute."""
        return self._uses.read().get(token.id)

    def create(self, name: str, role: Role, by: str) -> tuple[Token, str]:
        """A new token, and the text of it, which is never shown again.

        Raises:
            Invalid: this is no name.
            Conflict: a valid token has it, or it is the first token and cannot make others.
        """
        if not is_name(name):
            raise Invalid("name", f"1 to {MAX_NAME_BYTES} printable bytes", repr(name)[:80])
        with self._register.changing() as entries:
            if any(t.name == name and t.revoked_at is None for t in entries.values()):
                raise Conflict(f"there is a token {name!r}; revoke it first, or choose a name")
            if not entries and role != "operator":
                raise Conflict("the first token must be an operator's: after it, tokens are needed")
            identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
            entries[identity] = token = Token(
                id=identity,
                name=name,
                role=role,
                sha256=_hash(secret),
                added_at=self._clock.wall(),
                added_by=by,
            )
            return token, f"{_PREFIX}_{identity}_{secret}"

    def revoke(self, name: str, by: str) -> Token:
        """End a token at once and for good. Raises NotFound."""
        with self._register.changing() as entries:
            for token in entries.values():
                if token.name == name and token.revoked_at is None:
                    ended = {"revoked_at": self._clock.wall(), "revoked_by": by}
                    entries[token.id] = token = token.model_copy(update=ended)
                    return token
        raise NotFound(f"no token {name!r}")

    def check(self, text: str) -> Token | None:
        """The token that this is the text of; None when it is unknown or revoked.

        Takes the same time however much of the text is right. Raises AccessError.
        """
        prefix, _, rest = text.partition("_")
        identity, _, secret = rest.partition("_")
        found = self._register.entries().get(identity)
        same = hmac.compare_digest(_hash(secret), found.sha256 if found else _NOBODY)
        if found is None or not same or prefix != _PREFIX or found.revoked_at is not None:
            return None
        self._uses.note(found.id)
        return found


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
