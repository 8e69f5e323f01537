"""Who may come in: robots by their CURVE keys, people and programs by tokens."""

from server.access.doors import refuse_open_doors
from server.access.guard import Caller, Guard
from server.access.robot_keys import RobotKey, RobotKeys, curve_of, make_server_pair, server_pair
from server.access.tokens import Role, Token, Tokens

__all__ = [
    "Caller",
    "Guard",
    "RobotKey",
    "RobotKeys",
    "Role",
    "Token",
    "Tokens",
    "curve_of",
    "make_server_pair",
    "refuse_open_doors",
    "server_pair",
]
