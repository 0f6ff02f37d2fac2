"""Running functions that a model calls: whatever it asks for and whatever they do, there is a result, and in time.

A plain function runs in a thread of its own, which is left behind when it takes too long: Python cannot end it, and a
pool would fill up with such ones. It is a daemon, so the program ends nevertheless.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.codec import to_json
from vllm_flow.core.errors import ToolError, listed, nearest, told
from vllm_flow.core.tool_schema import METHOD, Signature
from vllm_flow.core.tool_values import ToolCall, ToolResult, ToolSpec
from vllm_flow.core.tools import ARGUMENTS, UNKNOWN

TOO_LONG, MISSING = "TooLong", "Missing"


@dataclass(frozen=True)
class Function:
    """A function with its options."""

    signature: Signature
    made: Any
    """An instance of its class."""


class RunningTools:
    """Holds nothing between two calls."""

    def __init__(self, functions: Sequence[Function], timeout_s: float, max_chars: int) -> None:
        self._functions = {one.signature.spec.name: one for one in functions}
        self._timeout_s, self._max_chars = timeout_s, max_chars

    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(one.signature.spec for one in self._functions.values())

    async def call(self, call: ToolCall, given: Mapping[str, Any]) -> ToolResult:
        function = self._functions.get(call.name)
        if function is None:
            hint = f"{nearest(call.name, self._functions)} There are: {listed(self._functions)}."
            return _failed(call, UNKNOWN, f"there is no function '{call.name}'.{hint}")
        if found := function.signature.problems(call.arguments):
            said = " ".join(f"{'.'.join(one.path)}: {one.problem}" if one.path else one.problem for one in found)
            return _failed(call, ARGUMENTS, said.replace("option '", "argument '").replace("Options:", "Arguments:"))
        return await self._run(function, call, given)

    async def _run(self, function: Function, call: ToolCall, given: Mapping[str, Any]) -> ToolResult:
        values = function.signature.read(call.arguments)
        for name in function.signature.resources:
            if name not in given:
                return _failed(call, MISSING, f"it cannot do without '{name}', which is not there")
            values[name] = given[name]
        method = getattr(function.made, METHOD)
        plain = not inspect.iscoroutinefunction(inspect.unwrap(method))
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                text = _text(await (_in_thread(method, values) if plain else method(**values)))
        except TimeoutError as error:
            late = f"no answer came within {self._timeout_s:g} s"
            return _failed(call, "TimeoutError", late if limit.expired() else told(error))
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            return _failed(call, "CancelledError", "it was cancelled from within")
        except ToolError as error:
            return _failed(call, type(error.__cause__ or error).__name__, str(error), error.say)
        except (Exception, SystemExit) as error:
            return _failed(call, type(error).__name__, told(error))
        if len(text) > self._max_chars:
            return _failed(call, TOO_LONG, f"the answer has {len(text)} characters, and {self._max_chars} can be read")
        return ToolResult(call.name, text, call.id)


def _failed(call: ToolCall, error: str, why: str, say: str = "") -> ToolResult:
    saying = f" Tell the user: {say}" if say else ""
    return ToolResult(call.name, f"Error: {why.rstrip('.')}.{saying}", call.id, error, say)


def _text(value: Any) -> str:
    """A text as it is, anything else as JSON. Raises ValueError for what JSON cannot hold."""
    return value if isinstance(value, str) else json.dumps(to_json(value), ensure_ascii=False)


async def _in_thread(method: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if not done.done():  # else nobody waits any more
            done.set_exception(error) if error is not None else done.set_result(value)

    def work() -> None:
        value, error = None, None
        try:
            value = method(**values)
        except BaseException as raised:
            error = RuntimeError("it raised StopIteration") if isinstance(raised, StopIteration) else raised
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="vllm-flow tool", daemon=True).start()
    return await done
