"""Clocks: the time with its zone, or a clear refusal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vllm_flow.clocks import Fixed, FixedClock, System
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.resources import Clock
from vllm_flow.core.spec import RunSpec


def test_the_system_clock_goes_on_and_knows_its_zone() -> None:
    clock = System("Asia/Shanghai").open()
    assert isinstance(clock, Clock)
    first, second = clock.now(), clock.now()
    assert first.utcoffset() == timedelta(hours=8)
    assert timedelta(0) <= second - first < timedelta(minutes=1)
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)
    assert System().open().now().tzinfo is not None


def test_a_fixed_clock_stands_still() -> None:
    clock = Fixed("2026-11-24T09:30:00+08:00").open()
    assert isinstance(clock, Clock)
    assert clock.now() == clock.now() == datetime(2026, 11, 24, 1, 30, tzinfo=UTC)


def test_a_moment_without_a_zone_is_none() -> None:
    with pytest.raises(ValueError, match=r"^2026-11-24T00:00:00 has no time zone\. Add one, such as \+00:00\.$"):
        FixedClock(datetime(2026, 11, 24))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            {"use": "clock/system", "zone": "Mars/Base"},
            "resources.clock.zone: 'Mars/Base' is no time zone here."
            " Write an IANA name such as Asia/Shanghai, or null.",
        ),
        (
            {"use": "clock/system", "zone": "../etc/passwd"},
            "resources.clock.zone: '../etc/passwd' is no time zone here."
            " Write an IANA name such as Asia/Shanghai, or null.",
        ),
        (
            {"use": "clock/fixed", "time": "noon"},
            "resources.clock.time: 'noon' is no moment. Write it as 2026-11-24T09:30:00+08:00.",
        ),
        (
            {"use": "clock/fixed", "time": "2026-11-24"},
            "resources.clock.time: '2026-11-24' is no moment. Write it as 2026-11-24T09:30:00+08:00.",
        ),
    ],
)
def test_what_no_clock_can_say_is_refused_before_anything_runs(entry: dict[str, str], problem: str) -> None:
    graph = {"prompt": {"use": "fuse/chat"}, "context": {"use": "context/full"}}
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(RunSpec("t", graph, "prompt", resources={"clock": entry, "store": {"use": "store/memory"}}))
    assert str(caught.value) == problem
