"""Whatever a model asks for and whatever a function does: there is a result, and in time."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import product

import pytest

from vllm_flow import tool
from vllm_flow.core import registry
from vllm_flow.core.library import Library
from vllm_flow.core.resources import Clock
from vllm_flow.core.segments import Item
from vllm_flow.core.tool_values import ToolCall
from vllm_flow.testing import FixedClock, call_tool
from vllm_flow.tools.clock import clock
from vllm_flow.tools.days import DAY, WORDS, day_of
from vllm_flow.tools.functions import Functions

NOON = FixedClock(datetime.fromisoformat("2026-11-28T12:00:00+00:00"))


@pytest.fixture(autouse=True)
def _own(own_registry: None) -> None:
    @tool
    def shout(text: str, times: int = 1) -> str:
        """Say it louder."""
        return text.upper() * times

    @tool
    async def wait(seconds: float) -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return "done"

    @tool
    def block(seconds: float) -> str:
        """Wait, and let nobody else go on."""
        time.sleep(seconds)
        return threading.current_thread().name

    @tool
    def fail(how: str) -> dict[str, object]:
        """Go wrong, or give what is no text."""
        match how:
            case "raise":
                raise ValueError("two\nlines")
            case "exit":
                sys.exit(3)
            case "stop":
                raise StopIteration
            case "late":
                raise TimeoutError("the server took its time")
            case "cancel":
                raise asyncio.CancelledError
            case "bytes":
                return {"x": b"1"}
            case "long":
                return {"x": "y" * 9000}
        return {"how": how, "when": [1, None, 2.5], "北": "京"}

    @tool("zoned")
    @dataclass(frozen=True)
    class Zoned:
        """The hour, with something before it."""

        before: str
        """Stands before it."""

        def call(self, clock: Clock) -> str:
            return f"{self.before}{clock.now():%H}"


def called(name, /, timeout_s=5.0, given=None, options=None, **arguments):
    tools = Functions({name: options or {}}, timeout_s=timeout_s).open()
    return asyncio.run(tools.call(ToolCall(name, arguments, "c1"), given or {}))


def test_plain_and_async_functions_and_classes_with_options_are_tools_alike():
    assert called("shout", text="hey", times=2).text == "HEYHEY"
    assert called("wait", seconds=0).text == "done"
    assert called("block", seconds=0).text == "vllm-flow tool"
    assert called("zoned", options={"before": "at "}, given={"clock": NOON}).text == "at 12"
    assert called("fail", how="fine").text == '{"how": "fine", "when": [1, null, 2.5], "北": "京"}'
    assert called("shout", text="hey").id == "c1"


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("raise", "ValueError", "Error: ValueError: two lines."),
        ("exit", "SystemExit", "Error: SystemExit: 3."),
        ("stop", "RuntimeError", "Error: RuntimeError: it raised StopIteration."),
        ("late", "TimeoutError", "Error: TimeoutError: the server took its time."),
        ("cancel", "CancelledError", "Error: it was cancelled from within."),
        ("bytes", "ValueError", "Error: ValueError: x: bytes cannot be written as JSON. Use texts, numbers, lists and mappings."),
        ("long", "TooLong", "Error: the answer has 9009 characters, and 8000 can be read."),
    ],
)  # fmt: skip
def test_what_a_function_does_wrong_is_a_result(how, error, text):
    result = called("fail", how=how)
    assert (result.error, result.text) == (error, text)


@pytest.mark.parametrize("name", ["wait", "block"])
def test_what_takes_too_long_is_left(name):
    started = time.perf_counter()
    result = called(name, timeout_s=0.05, seconds=1.0)
    assert (result.error, result.text) == ("TimeoutError", "Error: no answer came within 0.05 s.")
    assert time.perf_counter() - started < 0.9


def test_a_turn_that_is_cancelled_is_not_held_up():
    async def cancelled():
        tools = Functions({"wait": {}}).open()
        task = asyncio.create_task(tools.call(ToolCall("wait", {"seconds": 30.0}), {}))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())


def problems(**offer):
    return [(".".join(one.path), one.problem) for one in Functions(offer).problems()]


def test_what_is_offered_is_checked_beforehand():
    @tool
    def untyped(x) -> str:  # type: ignore[no-untyped-def]
        """Nobody knows."""
        return str(x)

    assert problems(
        shot={}, shout={"loud": True}, zoned={}, clock=3, weather={"host": "x y", "timeout_s": 0}, untyped={}
    ) == [
        ("offer.shot", "there is no tool 'shot'. Did you mean 'shout'? There are: block, calculator, clock, fail, page, search, shout, untyped, wait, weather, zoned."),
        ("offer.shout.loud", "there is no option 'loud'. Options: none."),
        ("offer.zoned.before", "'before' is missing. It takes a text."),
        ("offer.clock", "3 does not fit. Write its options, or {} for none."),
        ("offer.weather.timeout_s", "0 does not fit. It takes a number above 0."),
        ("offer.untyped", "'x' has no type. Annotate every parameter of call and its return."),
    ]  # fmt: skip
    assert problems(weather={"host": "x y"}) == [
        ("offer.weather.host", "'x y' is no server. Write one such as https://api.open-meteo.com.")
    ]
    assert problems(clock={}, weather={}, page={}) == []
    assert Functions({"clock": {}, "weather": {}, "page": {}}).needs() == {
        "clock": ("clock", "weather"),
        "web": ("page",),
    }


def test_a_tool_is_tried_in_a_test_as_a_model_would_call_it():
    assert call_tool(clock, given={"clock": NOON}, zone="Asia/Shanghai") == (
        "Saturday, 28 November 2026, 20:00 (Asia/Shanghai, 2026-11-28T20:00:00+08:00)"
    )
    with pytest.raises(AssertionError) as caught:
        call_tool(clock, given={"clock": NOON}, zone="Mars")
    assert str(caught.value) == (
        "clock: ToolError: Error: there is no time zone 'Mars'. Write an IANA name such as Asia/Shanghai."
    )
    with pytest.raises(AssertionError) as caught:
        call_tool(clock)
    assert str(caught.value) == "clock: it asks for clock. Give them in `given`."
    with pytest.raises(AssertionError, match=r"is not registered\. Put @tool above it\."):
        call_tool(called)


def test_documents_are_searched_and_what_is_missing_is_told():
    library = Library.of(
        (Item("Lamps have two years of warranty.", "warranty.md:1"), Item("We ship on Mondays.", "ship.md:4"))
    )
    found = called("search", given={"library": library}, query="the warranty of lamps")
    assert found.text == "[warranty.md:1] Lamps have two years of warranty."
    assert called("search", given={"library": library}, query="elephants").text == (
        "Error: no passage has anything of 'elephants'. Use other words, or say that it is not there."
    )
    missing = called("search", query="lamps")
    assert (missing.error, missing.text) == ("Missing", "Error: it cannot do without 'library', which is not there.")


def test_a_function_that_cannot_be_a_tool_is_refused_where_it_is_written():
    with pytest.raises(Exception, match="it has no docstring") as caught:

        @tool
        def silent() -> str:
            return ""

    assert type(caught.value).__name__ == "FlowError"
    assert registry.tool.find("silent") is None


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("today", 28), ("Tonight", 28), ("tomorrow", 29), ("the day after tomorrow", 30), ("Saturday", 28), ("on Sunday", 29),
        ("this evening", 28), ("This Sunday", 29), ("on next Monday", 30),
        ("2026-11-30", 30), ("in 2 days", 30), ("今天", 28), ("明天", 29), ("后天", 30), ("周日", 29), ("星期天", 29), ("礼拜一", 30),
        ("下周一", 30), ("11月29日", 29), ("2026年11月29号", 29), ("2天后", 30), ("", 28),
    ],
)  # fmt: skip
def test_days_are_understood_as_people_say_them(said, day):
    assert day_of(said, NOON.now().date()).day == day


def test_whatever_the_schema_of_a_day_lets_through_is_understood():
    before = ("", "on ", "the ", "this ", "next ", "on this ", "on next ", "next next ", "on on ")
    days = [*WORDS, "monday", "in 3 days", "2026-12-01", "12月1日", "3天后", "周三", "下周三", "下个星期天"]
    pattern = re.compile(dict(DAY.keywords)["pattern"])
    there = [said for said in map("".join, product(before, days)) if pattern.search(said)]
    assert {"this evening", "the day after tomorrow", "on next monday"} <= {*there}
    assert "next next monday" not in there
    for said in there:
        assert day_of(said, NOON.now().date()) >= NOON.now().date()
