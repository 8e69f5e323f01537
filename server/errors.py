"""Errors of the server.

DreamfleetError
└── ServerError        base of what the server raises itself
    ├── InsecureBind   an address that other machines can reach, without keys
    ├── NotFound       no experiment, robot or report of that name
    ├── Conflict       the state of things forbids it; says what is allowed
    ├── InvalidSpec    an experiment that cannot be created (field, expected, got)
    ├── CatalogError   the agents cannot be listed
    └── ReplayError    the replay store is damaged, or cannot be opened, read or written
"""

from robot_client.errors import DreamfleetError, FieldError


class ServerError(DreamfleetError):
    """Base of what the server raises itself."""


class InsecureBind(ServerError):
    """An address that other machines can reach, without keys."""


class NotFound(ServerError):
    """No experiment, robot or report of that name."""


class Conflict(ServerError):
    """The state of things forbids it; the message says what is allowed."""


class InvalidSpec(ServerError, FieldError):
    """An experiment that cannot be created."""


class CatalogError(ServerError):
    """The agents cannot be listed; the message ends with what their process said."""


class ReplayError(ServerError):
    """The replay store is damaged, or cannot be opened, read or written."""
