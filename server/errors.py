"""Every error that the server raises on purpose.

DreamfleetError
└── ServerError
    ├── SettingsError   the server's settings contradict each other; the message says what to do
    ├── NotFound        no experiment, robot, policy or checkpoint of that name
    ├── Conflict        right in itself, but not in the present state
    ├── Invalid         a value that is not what was asked for (field, expected, got)
    ├── Unauthorized    no token or key, or one that is unknown or revoked
    ├── NotReady        the server cannot do its work now
    ├── Unreachable     no server answers a command
    ├── Forbidden       a known caller whose role does not allow this
    ├── TooManyAttempts wrong tokens from one address, one after the other
    ├── AccessError     the files that say who may come in cannot be read or written
    ├── ReplayError     the replay store is damaged, or cannot be opened or read as it is asked to
    └── LearnerError    a learner cannot be started, or has failed
"""

from robot_client.errors import DreamfleetError, FieldError


class ServerError(DreamfleetError):
    """Base of the errors of the server."""


class SettingsError(ServerError):
    """The server's settings contradict each other."""


class NotFound(ServerError):
    """No experiment, robot, policy or checkpoint of that name."""


class Conflict(ServerError):
    """Right in itself, but not in the present state."""


class Invalid(FieldError, ServerError):
    """A value that is not what was asked for: has `field`, `expected` and `got`."""


class Unauthorized(ServerError):
    """No token or key, or one that is unknown or revoked."""


class Forbidden(ServerError):
    """A known caller whose role does not allow this."""


class TooManyAttempts(ServerError):
    """Wrong tokens from one address, one after the other."""


class AccessError(ServerError):
    """The files that say who may come in cannot be read or written: nobody comes in."""


class NotReady(ServerError):
    """The server cannot do its work now."""


class Unreachable(ServerError):
    """No server answers a command."""


class ReplayError(ServerError):
    """The replay store is damaged, or cannot be opened or read as it is asked to."""


class LearnerError(ServerError):
    """A learner cannot be started, or has failed."""
