"""Messages as JSON and back: the form of stores and records, and beside it that of chat services and data sets.

Written, a message of one text is `{"role", "content"}`, any other `{"role", "parts"}`. Read, a message may also carry
`tool_calls`, or name with `tool_call_id` the one that it answers, as OpenAI's chat completions have it.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

from vllm_flow.core.errors import listed
from vllm_flow.core.json_checks import brief, check_keys, list_from_json, text_from_json
from vllm_flow.core.json_text import decode
from vllm_flow.core.media import Audio, Image, Medium
from vllm_flow.core.media_json import medium_from_json, medium_to_json
from vllm_flow.core.messages import Message, Part, Role, Text
from vllm_flow.core.tool_values import ToolCall, ToolResult

Shown = Callable[[Any, str], Medium | None]
"""Makes an image or a sound of a part that says where it is; None of any other part. Raises ValueError."""
ROLES = typing.get_args(Role)
MEDIA = ("image", "image_url", "audio", "input_audio", "video")
KINDS: Mapping[str, type[Part]] = {
    "text": Text,
    "image": Image,
    "audio": Audio,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
}
SAID_BY: Mapping[type[Part], Role] = {ToolCall: "assistant", ToolResult: "tool"}
"""Parts that only one role has."""
RARE: Mapping[str, tuple[str, ...]] = {"assistant": ("tool_calls",), "tool": ("tool_call_id", "name")}
"""Keys that only the messages of a role may have."""


def message_to_json(message: Message) -> dict[str, Any]:
    """Its arguments of calls as they are, not checked to be JSON."""
    if len(message.parts) == 1 and isinstance(message.parts[0], Text):
        return {"role": message.role, "content": message.parts[0].text}
    return {"role": message.role, "parts": [_part_to_json(one) for one in message.parts]}


def _part_to_json(part: Part) -> dict[str, Any]:
    """Without what is empty."""
    match part:
        case Text(text):
            return {"text": text}
        case Image() | Audio():
            return medium_to_json(part)
        case ToolCall(name, arguments, of):
            return {"type": "tool_call", "name": name, "arguments": arguments, **({"id": of} if of else {})}
        case ToolResult(name, text, of, error, say):
            rare = {key: one for key, one in (("id", of), ("error", error), ("say", say)) if one}
            return {"type": "tool_result", "name": name, "text": text, **rare}


def message_from_json(data: Any, where: str = "message", shown: Shown | None = None) -> Message:
    """A message: `{"role", "content": text or list of parts}` or `{"role", "parts": […]}`. Raises ValueError."""
    role = data.get("role") if isinstance(data, dict) else None
    rare = RARE.get(role, ()) if isinstance(role, str) else ()
    check_keys(data, where, required=("role",), optional=("content", "parts", *rare))
    if role not in ROLES:
        raise ValueError(f"{where}.role: {brief(role)} is no role. Roles: {listed(ROLES)}.")
    parts = _said(data, where, shown)
    if "tool_calls" in data:
        calls = enumerate(list_from_json(data["tool_calls"], f"{where}.tool_calls"))
        parts = (*parts, *(_openai_call(one, f"{where}.tool_calls.{place}") for place, one in calls))
    elif role == "tool" and all(isinstance(one, Text) for one in parts):
        answers, name = (text_from_json(data.get(key, ""), f"{where}.{key}") for key in ("tool_call_id", "name"))
        parts = (ToolResult(name, "".join(one.text for one in parts), answers),)
    elif other := [key for key in rare if key in data]:
        raise ValueError(f"{where}.{other[0]}: the parts say it already. Leave it out.")
    for place, part in enumerate(parts):
        if SAID_BY.get(type(part), role) != role or (role == "tool" and not isinstance(part, ToolResult)):
            kind = next(name for name, one in KINDS.items() if type(part) is one)
            raise ValueError(f"{where}.parts.{place}: a {kind} in a message from the {role}. {_ADVICE}")
    return Message(cast(Role, role), parts)


_ADVICE = "An assistant has tool_call parts, a tool has tool_result parts and no others."


def _said(data: Mapping[str, Any], where: str, shown: Shown | None) -> tuple[Part, ...]:
    if data.get("content") is None and "parts" not in data and "tool_calls" in data:
        return ()  # of an assistant that only calls
    if ("content" in data) == ("parts" in data):
        how_many = "both" if "content" in data else "neither"
        raise ValueError(f"{where}: it has {how_many} of 'content' and 'parts'. Give one of them.")
    key = "parts" if "parts" in data else "content"
    if key == "parts" or isinstance(data[key], list):
        return parts_from_json(data[key], f"{where}.{key}", shown)
    if not isinstance(text := data[key], str):
        raise ValueError(f"{where}.content: {brief(text)} is neither a text nor a list of parts. Give one of them.")
    return (Text(text),)


def parts_from_json(data: Any, where: str = "parts", shown: Shown | None = None) -> tuple[Part, ...]:
    """Parts: `{"text"}`, or `{"type": "text", "text"}` as chat services write them. Raises ValueError."""
    return tuple(_part(item, f"{where}.{place}", shown) for place, item in enumerate(list_from_json(data, where)))


def _part(data: Any, where: str, shown: Shown | None) -> Part:
    kind = data.get("type", "text") if isinstance(data, dict) else "text"
    if shown is not None and (medium := shown(data, where)) is not None:
        return medium
    if kind not in KINDS:
        raise ValueError(f"{where}: a part of type {brief(kind)}. Types that are read: {listed(KINDS)}.")
    for key in MEDIA:
        if isinstance(data, dict) and key in data:
            raise ValueError(f"{where}: a part with '{key}'. Types that are read: {listed(KINDS)}.")
    if kind == "text":
        check_keys(data, where, required=("text",), optional=("type",))
        return Text(text_from_json(data["text"], f"{where}.text"))
    if kind in ("image", "audio"):
        return medium_from_json(data, where)
    of = text_from_json(data.get("id", ""), f"{where}.id")
    if kind == "tool_call":
        check_keys(data, where, ("type", "name", "arguments"), ("id",))
        return ToolCall(text_from_json(data["name"], f"{where}.name"), _mapping(data["arguments"], where), of)
    check_keys(data, where, ("type", "name", "text"), ("id", "error", "say"))
    said = [text_from_json(data.get(key, ""), f"{where}.{key}") for key in ("name", "text", "error", "say")]
    return ToolResult(said[0], said[1], of, *said[2:])


def _openai_call(data: Any, where: str) -> ToolCall:
    check_keys(data, where, ("function",), ("id", "type"))
    check_keys(data["function"], f"{where}.function", ("name", "arguments"))
    name, written = data["function"]["name"], data["function"]["arguments"]
    try:
        arguments = decode(written) if isinstance(written, str) else written
    except ValueError:
        raise ValueError(f"{where}.function.arguments: {brief(written)} is no JSON. Write a mapping.") from None
    of = text_from_json(data.get("id", ""), f"{where}.id")
    return ToolCall(text_from_json(name, f"{where}.function.name"), _mapping(arguments, f"{where}.function"), of)


def _mapping(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where}.arguments: {brief(data)} is no mapping. Give the arguments by name.")
    return data
