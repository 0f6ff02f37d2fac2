"""Buses: when and where the next one leaves, by the timetable beside this file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

from vllm_flow import Clock, ToolError, tool
from vllm_flow.core.options import Constraint

with Path(__file__).with_name("buses.csv").open(encoding="utf-8", newline="") as file:
    BUSES = {row["to"]: row for row in csv.DictReader(file)}
NAMES = "|".join([*BUSES, *map(str.capitalize, BUSES)])
PLACE = Constraint((("pattern", f"^({NAMES})?$"), ("title", " or ".join(BUSES))))
"""What is looked for in the user's words, and how that is told."""


@tool
def next_bus(clock: Clock, to: Annotated[str, PLACE] = "") -> str:
    """When and where the next bus leaves.

    Args:
        to: Where the user wants to go.
    """
    bus = BUSES.get(to.lower())
    if bus is None:
        raise ToolError("no place is named", say=f"There are buses to: {', '.join(BUSES)}. Where do you want to go?")
    times, now = bus["leaves"].split(), f"{clock.now():%H:%M}"
    time = next((one for one in times if one >= now), f"{times[0]} tomorrow")
    return f"The next bus to the {bus['to']} leaves from stop {bus['stop']} at {time.lstrip('0')}."
