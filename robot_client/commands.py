"""What an operator wants of the robot, as it stands at this step."""

from __future__ import annotations

import queue
from collections.abc import Callable

from robot_client.messages import ANY_EPISODE, Command, CommandDone
from robot_client.safety import EmergencyStop

_TERMINAL = ("success", "failure")
_CUT = ("pause", "reset", "end_episode")
PAUSED = "paused by an operator"
PULLED = "emergency stop by an operator"


class Operator:
    """Takes the commands at step boundaries and says when each has taken effect.

    A stop does not wait for the boundary: `take` stops the robot at once, whatever the loop does.

    Args:
        commands: filled by the link.
        estop: pulled by stop, let go by release.
        stop: stops the robot at once.
        send: for the answers.
    """

    def __init__(
        self,
        commands: queue.SimpleQueue[Command],
        estop: EmergencyStop,
        stop: Callable[[], None],
        send: Callable[[CommandDone], None],
    ) -> None:
        self.paused = False
        self.reason = PAUSED  # why it is paused
        self.ending = ""  # why the running episode is to end, if it is
        self.terminal = False  # whether it ends as one whose task is over
        self._episode: int | None = None  # number of the one that is running
        self._commands, self._estop, self._stop, self._send = commands, estop, stop, send
        self._pending: list[int] = []  # take effect when the episode has ended
        self._resets: list[int] = []  # take effect when the next one has begun

    def take(self, command: Command) -> None:
        """A command has arrived. May be called from another thread than the loop's."""
        # Queued first: no release that came before it can be obeyed after the stop below.
        self._commands.put(command)
        if command.verb == "stop":
            self._pull()

    def pause(self, why: str) -> None:
        """End the episode and stand still until somebody resumes, as nobody has asked for."""
        self.paused, self.reason = True, why
        self.ending = self.ending or why

    def attend(self) -> None:
        """Obey what has arrived. Never waits."""
        while not self._commands.empty():
            self._obey(self._commands.get_nowait())

    def episode_ended(self) -> None:
        """No episode is running: what asked for that is done."""
        for ident in self._pending:
            self._send(CommandDone(ident, ""))
        self._pending.clear()
        self.ending, self.terminal, self._episode = "", False, None

    def episode_begun(self, number: int) -> None:
        """The robot has been reset: what asked for that is done."""
        self._episode = number
        for ident in self._resets:
            self._send(CommandDone(ident, ""))
        self._resets.clear()

    def _obey(self, command: Command) -> None:
        if command.episode not in (ANY_EPISODE, self._episode):
            self._send(CommandDone(command.id, f"episode {command.episode} is not running"))
            return
        if command.verb in _TERMINAL and self._episode is None:  # its last row is written
            self._send(CommandDone(command.id, "no episode is running"))
            return
        if command.verb in _TERMINAL or command.verb in _CUT:
            if command.verb == "pause":
                self.paused, self.reason = True, PAUSED
            self.terminal = self.terminal or command.verb in _TERMINAL
            self.ending = f"{command.verb} by an operator"
            (self._resets if command.verb == "reset" else self._pending).append(command.id)
            return
        if command.verb == "stop":
            self._pull()
            self.ending = self.ending or PULLED  # even if it has been released by now
        elif command.verb == "release":
            self._estop.release()
        else:
            self.paused = False
        self._send(CommandDone(command.id, ""))

    def _pull(self) -> None:
        self._estop.pull(PULLED, self._stop)
