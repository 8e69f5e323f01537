"""How much a learner may train for the data that have come."""

from __future__ import annotations

from collections.abc import Mapping

from robot_client.schema import Json


class TrainLimiter:
    """Grants updates in proportion to the rows received, so that only the learner is throttled.

    Every row is worth `train_ratio / rows_per_update` updates; when no rows come, none are granted.

    Args:
        train_ratio: how often a row is replayed, on average, by the time it has been paid for.
        rows_per_update: rows that one update replays, such as batch times length.
        min_rows: nothing is granted before so many rows have come; they count from then on.
        max_debt: updates that may be waiting to be made; those beyond are forgiven, so that a
            learner that was away does not train on old data without pause when it returns.
    """

    def __init__(
        self, train_ratio: float, rows_per_update: int, min_rows: int, max_debt: int
    ) -> None:
        assert train_ratio > 0, train_ratio
        assert min(rows_per_update, max_debt) >= 1, (rows_per_update, max_debt)
        self._per_row = train_ratio / rows_per_update
        self._min_rows = min_rows
        self._max_debt = max_debt
        self._spent = 0
        self._forgiven = 0

    def allowed(self, rows: int) -> int:
        """Updates that may be made now that `rows` rows have come in all; at least 0."""
        if rows < self._min_rows:
            return 0
        debt = int(rows * self._per_row) - self._spent - self._forgiven
        if debt > self._max_debt:
            self._forgiven += debt - self._max_debt
        return max(0, min(debt, self._max_debt))

    def spend(self, updates: int = 1) -> None:
        """Updates have been made."""
        self._spent += updates

    def state(self) -> Json:
        """Everything that `restore` needs, as JSON types."""
        return {"spent": self._spent, "forgiven": self._forgiven}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on from `state()`."""
        self._spent, self._forgiven = int(state["spent"]), int(state["forgiven"])
