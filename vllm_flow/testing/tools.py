"""Tools in tests: a function called as a model would call it, a model that says what it is told, and tools that do."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.codec import encode
from vllm_flow.core.functions import function_of
from vllm_flow.core.json_text import decode
from vllm_flow.core.tool_prompts import has_tools, written_out
from vllm_flow.core.tool_schema import METHOD, signature_of
from vllm_flow.core.tool_values import ToolCall, ToolResult, ToolSpec
from vllm_flow.core.values import Finish, Prompt, Request, Token, Usage
from vllm_flow.engines.echo import pieces, token_id
from vllm_flow.testing.asking import home
from vllm_flow.testing.compare import require
from vllm_flow.tools.running import Function, RunningTools

Reply = str | Callable[[Request], str]
LIMIT_S = 20.0


def call_tool(tool: Any, /, *, given: Mapping[str, Any] | None = None, **arguments: Any) -> str:
    """What a model reads when it calls the function, or the instance of a tool's class, with these arguments.

    It is registered; its arguments can be told to a model; and what it gives can be told, too. `given` are resources by
    name, such as `{"clock": FixedClock(…)}`. Raises AssertionError with what the model would read when the call fails.
    """
    entry = registry.tool.of_function(tool) if callable(tool) and not isinstance(tool, type) else None
    entry = entry or registry.tool.of(type(tool))
    require(entry is not None, f"{tool!r} is not registered. Put @tool above it.")
    if entry is None:
        raise AssertionError
    try:
        signature = signature_of(entry.name, entry.cls)
        encode(signature.spec)
    except (TypeError, NameError, ValueError) as error:
        raise AssertionError(f"{entry.name}: {error}.") from error
    made = entry.cls() if function_of(entry.cls, METHOD) else tool
    missing = [name for name in signature.resources if name not in (given or {})]
    require(not missing, f"{entry.name}: it asks for {', '.join(missing)}. Give them in `given`.")
    call = ToolCall(entry.name, decode(encode(arguments)))
    tools = RunningTools([Function(signature, made)], LIMIT_S, 1_000_000)
    result = home().run(tools.call(call, given or {}))
    require(not result.error, f"{entry.name}: {result.error}: {result.text}")
    return result.text


class FakeTools:
    """Tools without arguments to be checked: each gives its text, or what a function makes of the arguments.

    `calls` has what was called.
    """

    def __init__(self, **answers: str | Callable[..., str]) -> None:
        self._answers = answers
        self.calls: list[ToolCall] = []

    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name, f"The {name}.", _parameters(one)) for name, one in self._answers.items())

    async def call(self, call: ToolCall, given: Mapping[str, Any]) -> ToolResult:
        self.calls.append(call)
        await asyncio.sleep(0)
        answer = self._answers.get(call.name)
        if answer is None:
            return ToolResult(call.name, "Error: there is no such function.", call.id, "UnknownTool")
        return ToolResult(call.name, answer if isinstance(answer, str) else answer(**call.arguments), call.id)


def _parameters(answer: str | Callable[..., str]) -> dict[str, Any]:
    """Those that the function has, each a text."""
    names = [] if isinstance(answer, str) else list(inspect.signature(answer).parameters)
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}


class ScriptedEngine:
    """Says one text after the other, or what a function makes of the request; `requests` has what it was asked.

    Its tokens are words. It reads tools, and is held to shapes by whoever writes the script.
    """

    def __init__(self, *replies: Reply, tools: str = "template", shapes: tuple[str, ...] = ()) -> None:
        self._replies = deque(replies)
        self._told = {"engine": "scripted", "model": "script", "tools": tools, "shapes": list(shapes)}
        self.requests: list[Request] = []

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        self.requests.append(request)
        await asyncio.sleep(0)
        require(bool(self._replies), "the script has no reply left. Write one for each request.")
        reply = self._replies.popleft()
        said = pieces(reply if isinstance(reply, str) else reply(request)) or [""]
        for place, piece in enumerate(said):
            finish = Finish("stop", Usage(self.count(request.prompt), len(said))) if place == len(said) - 1 else None
            yield Token(token_id(piece), piece, None, finish)

    def count(self, prompt: Prompt) -> int:
        messages = written_out(prompt).messages if has_tools(prompt) else prompt.messages
        return sum(len(pieces(message.text)) for message in messages)

    def describe(self) -> Mapping[str, Any]:
        return self._told

    def close(self) -> None:
        pass
