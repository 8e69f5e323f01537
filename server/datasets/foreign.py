"""Makes what others recorded fit our rows: few types, plain names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_client.schema import MAX_NAME_BYTES, Field
from server.errors import Invalid


def fitted(name: str, column: NDArray[Any], field: Field) -> NDArray[Any]:
    """(N, ...) values as the type and shape of a field; numbers are made float32 where it is that.

    Raises Invalid when the shape is another, or numbers would change their meaning.
    """
    wide = column.dtype.kind == "f" and field.dtype != "float32"
    narrow = field.dtype == "uint8" and column.dtype != np.uint8
    if wide or narrow or column[0].size != int(np.prod(field.shape)):
        got = f"{column.dtype.name} {column.shape[1:]}"
        raise Invalid(name, f"{field.dtype} {field.shape}", got)
    return column.reshape(len(column), *field.shape).astype(field.dtype)


def task_name(text: str) -> str:
    """A task as rows may have it: printable, and short enough."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
