"""A robot that writes down when it was told to stop, and when to move."""

from robot_client.clock import SystemClock
from robot_client.robot import Action
from robot_client.robots.counting import CountingRobot


class LoggingRobot(CountingRobot):
    """A counting robot that appends a line `stop TIME` or `apply TIME` to a file at each call.

    Args:
        log: the file. Times are those of this machine's monotonic clock, in seconds.
    """

    def __init__(self, log: str) -> None:
        super().__init__(episode_steps=100_000, control_hz=20.0)
        self._log = open(log, "a", buffering=1)  # noqa: SIM115 - until the process ends

    def apply(self, action: Action) -> Action:
        self._say("apply")
        return super().apply(action)

    def stop(self) -> None:
        self._say("stop")
        super().stop()

    def _say(self, what: str) -> None:
        self._log.write(f"{what} {SystemClock().monotonic()}\n")
