"""Parameters that several routes share, with their bounds."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from server.api.paging import MAX_INT

NO_NUL = r"^[^\x00]*$"  # PostgreSQL takes no others

ExperimentId = Annotated[str, Path(description="Id of an experiment.", examples=["5f0c1a2b"])]
RobotName = Annotated[str, Path(description="Name of a robot.", examples=["ball-1"])]
Version = Annotated[
    int, Path(ge=0, le=MAX_INT, description="Version of a policy, from 0.", examples=[7])
]
Text = Annotated[str | None, Query(max_length=200, pattern=NO_NUL)]
Number = Annotated[float | None, Query(allow_inf_nan=False)]
Time = Annotated[
    float | None,
    Query(allow_inf_nan=False, description="Seconds since 1970-01-01 UTC.", examples=[1.7e9]),
]
