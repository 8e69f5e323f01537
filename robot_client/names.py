"""What a robot may be called: its name is a folder on its disk, and a part of URLs.

Server and robot ask here, so that none of them takes a name that the other cannot use.
"""

from __future__ import annotations

import re

from robot_client.errors import SchemaError

NAME_RULE = "1 to 64 letters, digits, spaces or ._- that begin with a letter, digit or _"
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9._-])?")


def robot_name(text: str, field: str = "name") -> str:
    """The name, if a robot may have it; no space ends it. Raises SchemaError for `field`."""
    if not _NAME.fullmatch(text):
        raise SchemaError(field, NAME_RULE, repr(text)[:80])
    return text
