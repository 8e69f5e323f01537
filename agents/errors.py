"""Errors of agents.

UnsupportedSpace  the agent cannot learn on these spaces; the message says which and why
UnknownAgent      no agent of that name; the message names the closest
"""

from robot_client.errors import DreamfleetError, FieldError


class UnsupportedSpace(FieldError):
    """The agent cannot learn on these spaces."""


class UnknownAgent(DreamfleetError):
    """No agent of that name."""
