"""Which of the robot's episodes are played for an evaluation, and how each episode is tagged."""

from __future__ import annotations

import threading
from dataclasses import replace

from robot_client.bundle import Manifest
from robot_client.messages import Evaluate
from robot_client.schema import NO_TAG, Tag

PROPER_ENDS = frozenset({"terminated", "truncated", "time limit"})


class Duty:
    """Takes the server's order and counts down the episodes that were played to their end, by no
    person.

    An episode is of the evaluation if the version that is to be evaluated acts when it begins.
    Until it does, the robot goes on learning.
    """

    def __init__(self) -> None:
        self.tag = NO_TAG
        """Of the running episode's rows."""
        self._disturbed = False
        self._order: Evaluate | None = None
        self._taking = threading.Lock()

    @property
    def evaluation(self) -> int:
        """The evaluation that has episodes left to be played here; 0 for none."""
        order = self._order
        return order.evaluation if order is not None else 0

    @property
    def evaluates(self) -> bool:
        """Whether the running episode is an evaluation's."""
        return self.tag.evaluation != 0

    def take(self, order: Evaluate) -> None:
        """An order has arrived, in place of the one before. May be called from another thread."""
        with self._taking:
            self._order = order if order.episodes > 0 else None

    def begin(self, manifest: Manifest | None) -> None:
        """An episode begins with this policy; None where a person drives, or nobody else can."""
        order, self.tag, self._disturbed = self._order, NO_TAG, False
        if order is None or manifest is None:
            return
        if (order.experiment, order.version) == (manifest.experiment, manifest.version):
            self.tag = Tag(order.evaluation, order.learn)

    def taken_over(self) -> None:
        """A person drives in the running episode: it no longer shows what its policy can do."""
        self._disturbed = True

    def last_tag(self, ending: str) -> Tag:
        """The tag of the row with which the episode ends for this reason."""
        return replace(self.tag, cut=self._cut(ending))

    def end(self, ending: str) -> None:
        """The running episode has ended, and its last row is kept."""
        with self._taking:
            order = self._order
            mine = order is not None and order.evaluation == self.tag.evaluation
            if order is not None and mine and not self._cut(ending):
                left = order.episodes - 1
                self._order = replace(order, episodes=left) if left else None
        self.tag = NO_TAG

    def _cut(self, ending: str) -> bool:
        return self._disturbed or ending not in PROPER_ENDS
