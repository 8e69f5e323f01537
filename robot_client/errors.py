"""Every error that the robot client raises.

DreamfleetError
├── SchemaError      a space, row or task is not what was declared (field, expected, got)
├── MessageError     a message on the wire is malformed (field, expected, got)
├── SpoolError       the disk spool cannot be read or written
│   └── SpoolFull    the spool has reached its quota
├── LinkError        the server refuses us or cannot be reached
├── BundleError      a policy bundle is damaged, or does not fit this robot
├── RobotError       a robot broke its own contract, or its device is lost
└── SafetyStop       the safety layer stopped the robot, and says why
"""


class DreamfleetError(Exception):
    """Base of all errors of this project."""


class FieldError(DreamfleetError):
    """A value that is not what was declared.

    Args:
        field: dotted name of the offending value, for example `columns.camera`.
        expected: what the contract asks for.
        got: what came.
    """

    def __init__(self, field: str, expected: object, got: object) -> None:
        super().__init__(f"{field}: expected {expected}, got {got}")
        self.field = field
        self.expected = str(expected)
        self.got = str(got)


class SchemaError(FieldError):
    """A space, row or task is not what was declared."""


class MessageError(FieldError):
    """A message on the wire is malformed, oversized or of another protocol version."""


class SpoolError(DreamfleetError):
    """The disk spool cannot be read or written."""


class SpoolFull(SpoolError):
    """The spool has reached its quota."""


class LinkError(DreamfleetError):
    """The server refuses us or cannot be reached."""


class BundleError(DreamfleetError):
    """A policy bundle is damaged, or does not fit this robot."""


class RobotError(DreamfleetError):
    """A robot broke its own contract, or its device is lost."""


class SafetyStop(DreamfleetError):
    """The safety layer stopped the robot; the message says why."""
