"""Who may come in: keys and tokens where other machines reach the server, and its certificate."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from robot_client.clock import SystemClock
from robot_client.findings import Finding
from server.access import RobotKeys, Tokens, refuse_open_doors, server_pair
from server.errors import SettingsError
from server.settings import Settings

_SOON_S = 30 * 24 * 3600.0
_NAME = "certificate"


def check(settings: Settings) -> Iterator[Finding]:
    """Keys and tokens. Raises AccessError or LinkError when they cannot be read."""
    try:
        refuse_open_doors(settings)
    except SettingsError as error:
        text, _, advice = str(error).partition(" Run first:")
        yield Finding("access", "FAIL", text, " ".join(advice.split()))
        return
    robots = {key.robot for key in RobotKeys(settings.data).all()}
    tokens = [token for token in Tokens(settings.data).all() if token.revoked_at is None]
    pair = "a key pair" if server_pair(settings.data) else "no key pair"
    here = "this machine only" if settings.is_loopback else settings.host
    yield Finding(
        "access",
        "OK",
        f"listens to {here}; {pair}, keys of {len(robots)} robots, {len(tokens)} tokens",
    )


def check_certificate(settings: Settings) -> Iterator[Finding]:
    """Whether the certificate goes with its key and is valid now, and for how long."""
    if settings.tls_certificate is None or settings.tls_key is None:
        if settings.is_loopback:
            yield Finding(_NAME, "OK", "none, and none is needed on this machine")
        else:
            text = "none: tokens travel in the clear"
            yield Finding(_NAME, "WARN", text, "--ssl-certfile, or a proxy with TLS, or a VPN")
        return
    path = settings.tls_certificate
    try:
        until = valid_until(path, settings.tls_key)
    except (ssl.SSLError, OSError) as error:
        text = f"{path}: {getattr(error, 'verify_message', '') or error}"
        yield Finding(_NAME, "FAIL", text, "have a new certificate made for this key")
        return
    left = (until - SystemClock().wall()) / (24 * 3600)
    text = f"{path}: valid for {left:.0f} more days"
    if left * 24 * 3600 < _SOON_S:
        yield Finding(_NAME, "WARN", text, "have it renewed")
    else:
        yield Finding(_NAME, "OK", text)


def valid_until(certificate: Path, key: Path) -> float:
    """The time (seconds since 1970) at which the certificate ends.

    Found by a handshake in memory, with the certificate itself as the one that is trusted, because
    Python has no other public way to read a certificate's dates.

    Raises:
        ssl.SSLError: it is no certificate of this key, has expired, or is not valid yet.
        OSError: a file cannot be read.
    """
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate, key)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.check_hostname = False
    theirs.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    theirs.load_verify_locations(certificate)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = theirs.wrap_bio(down, up)
    server = ours.wrap_bio(up, down, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    found = client.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))
