"""Long lists, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field

T = TypeVar("T")
MAX_INT = 2**53  # what JSON and SQL can both hold


class Page(BaseModel, Generic[T]):
    """Some items of a list with a stable order; `total` counts all of them."""

    items: list[T]
    total: int = Field(description="Items on all pages together.")
    offset: int = Field(description="Items before this page.")
    limit: int = Field(description="At most so many items are on a page.")


@dataclass(frozen=True)
class Paging:
    """Which part of a list is asked for."""

    offset: int
    limit: int

    def cut(self, items: Sequence[T]) -> Page[T]:
        """The page of a list that is there as a whole."""
        return self.page(items[self.offset : self.offset + self.limit], len(items))

    def page(self, items: Sequence[T], total: int) -> Page[T]:
        """A page whose items have been chosen already."""
        return Page(items=list(items), total=total, offset=self.offset, limit=self.limit)


def _paging(
    offset: Annotated[int, Query(ge=0, le=MAX_INT, description="Items to leave out.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Items at most.")] = 100,
) -> Paging:
    return Paging(offset, limit)


Paged = Annotated[Paging, Depends(_paging)]
