"""The function, called as a model calls it."""

from datetime import datetime

import pytest
from tools.buses import next_bus

from vllm_flow.testing import FixedClock, call_tool


def bus(to: str, now: str) -> str:
    return call_tool(next_bus, to=to, given={"clock": FixedClock(datetime.fromisoformat(f"2026-11-30T{now}:00+01:00"))})


@pytest.mark.parametrize(
    ("to", "now", "said"),
    [
        ("museum", "08:30", "The next bus to the museum leaves from stop A at 9:15."),
        ("museum", "09:15", "The next bus to the museum leaves from stop A at 9:15."),
        ("Museum", "09:16", "The next bus to the museum leaves from stop A at 10:45."),
        ("airport", "23:30", "The next bus to the airport leaves from stop A at 5:40 tomorrow."),
    ],
)
def test_the_next_bus_is_the_first_that_has_not_left(to: str, now: str, said: str) -> None:
    assert bus(to, now) == said


def test_where_no_place_is_named_the_user_is_asked_for_one() -> None:
    with pytest.raises(AssertionError, match=r"There are buses to: airport, .*\. Where do you want to go\?"):
        bus("", "08:30")
