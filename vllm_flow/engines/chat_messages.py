"""Messages as chat templates and chat services take them: OpenAI's form, which all of them share but for details."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vllm_flow.core.media import Medium
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.tool_values import ToolCall, ToolResult

InParts = Callable[[Medium], dict[str, Any]]
"""How a medium is written as one of the parts of what is said."""


def chat_messages(
    messages: Sequence[Message], arguments_as_text: bool = False, in_parts: InParts | None = None
) -> list[dict[str, Any]]:
    """Each result of a tool is a message of its own. arguments_as_text: services want that, and templates a mapping.

    in_parts: then what is said is a list of parts; else it is one text, and there may be no media.
    """
    return [found for one in messages for found in _of(one, arguments_as_text, in_parts)]


def _of(message: Message, arguments_as_text: bool, in_parts: InParts | None) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        for place, part in enumerate(message.parts):
            if isinstance(part, ToolResult):
                of = part.id or f"call{place:05}"
                yield {"role": "tool", "name": part.name, "tool_call_id": of, "content": part.text}
        return
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    found: dict[str, Any] = {"role": message.role, "content": _said(message, in_parts)}
    if calls:
        found["tool_calls"] = [_call(one, place, arguments_as_text) for place, one in enumerate(calls)]
    yield found


def _said(message: Message, in_parts: InParts | None) -> str | list[dict[str, Any]]:
    if in_parts is None:
        return "".join(part.text for part in message.parts if isinstance(part, Text))
    return [
        {"type": "text", "text": part.text} if isinstance(part, Text) else in_parts(part)
        for part in message.parts
        if isinstance(part, Text | Medium)
    ]


def _call(call: ToolCall, place: int, arguments_as_text: bool) -> dict[str, Any]:
    """Without an id of its own it is known by its place, as its result is."""
    arguments: Any = dict(call.arguments)
    if arguments_as_text:
        arguments = json.dumps(arguments, ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id or f"call{place:05}", "type": "function", "function": function}
