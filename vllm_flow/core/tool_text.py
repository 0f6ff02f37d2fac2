"""Calls in writing: how a model's text calls a function.

Models were trained on different forms. Those that are JSON between marks are read here; written, there is one form, the
one with `<tool_call>` that Hermes, Qwen and SmolLM2 share. What is meant as a call and cannot be read as one is told,
so that the model can mend it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.json_text import decode, decode_first
from vllm_flow.core.tool_values import ToolCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MARKS = (OPEN, "[TOOL_CALLS]", "<|python_tag|>", "<function=")
"""What begins a call. Some tokenizers hide theirs, for it is a control token: then the answer begins with its JSON."""
FUNCTION = re.compile(r"<function=(?P<name>[^>\s]+)>(?P<body>.*?)(?:</function>|\Z)", re.DOTALL)
PARAMETER = re.compile(r"<parameter=(?P<name>[^>\s]+)>\n?(?P<value>.*?)\n?</parameter>", re.DOTALL)
"""`<function=name>{…}</function>` is Llama's own form; with a `<parameter=…>` for each argument it is Qwen3-Coder's."""
RIGHT = f'Write {OPEN}{{"name": …, "arguments": {{…}}}}{CLOSE}.'


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says: words, and calls."""

    words: str
    """What stands before the first call."""
    calls: tuple[ToolCall, ...] = ()
    problem: str = ""
    """Why something that is meant as a call is none; empty when there is no such thing."""


def read(text: str) -> Said:
    """The calls in an answer."""
    at, mark = min(((text.find(one), one) for one in MARKS if one in text), default=(-1, ""))
    body = text.strip()
    if at < 0:
        if body[:1] not in ("{", "[") or not (calls := _of_json(body)[0]):
            return Said(text)
        return Said("", calls)
    words, body = text[:at].rstrip(), text[at:]
    if FUNCTION.search(body):
        calls, problem = _of_functions(body)
        return Said(words, calls, problem)
    pieces = (one.partition(CLOSE)[0] for one in body.split(mark)[1:])
    calls, problem = (), ""
    for piece in pieces:
        found, wrong = _of_json(piece.strip())
        calls, problem = (*calls, *found), problem or wrong
    return Said(words, calls, problem)


def held_back(text: str, pending: str, ended: bool) -> bool:
    """Whether the end of an answer, `pending`, is not to be shown yet: it is a call, or may become one. See `Hold`."""
    if ended:
        said = read(text)
        return bool(said.calls or said.problem)
    start = text.lstrip()[:1]
    if not start or (start in ("{", "[") and len(pending) == len(text)):
        return True
    shortest = (pending[place:] for place in range(len(pending)) if pending[place] in "<[")
    return any(one.startswith(mark) or mark.startswith(one) for one in shortest for mark in MARKS)


def _of_json(text: str) -> tuple[tuple[ToolCall, ...], str]:
    """Calls, from one JSON value, or several behind each other; and why it is none."""
    found = list[Any]()
    while text:
        try:
            value, end = decode_first(text)
        except ValueError as error:
            return (), f"the call is no JSON: {error} {RIGHT}"
        found += value if isinstance(value, list) else [value]
        text = text[end:].lstrip("; \t\r\n")
    calls = [_call(one) for one in found]
    if not calls or not all(calls):
        return (), f"the call has no name and no arguments. {RIGHT}"
    return tuple(one for one in calls if one), ""


def _call(value: Any) -> ToolCall | None:
    if isinstance(value, Mapping) and isinstance(inner := value.get("function"), Mapping):
        value = inner
    if not isinstance(value, Mapping) or not isinstance(name := value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = decode(arguments)
        except ValueError:
            return None
    return ToolCall(name, arguments) if isinstance(arguments, Mapping) else None


def _of_functions(text: str) -> tuple[tuple[ToolCall, ...], str]:
    calls = list[ToolCall]()
    for one in FUNCTION.finditer(text):
        given = [(found["name"], _value(found["value"])) for found in PARAMETER.finditer(one["body"])]
        body = one["body"].strip()
        arguments: Any = dict(given) if given or not body else _value(body)
        if not isinstance(arguments, dict):
            return (), f"the arguments of {one['name']} are no JSON. {RIGHT}"
        calls.append(ToolCall(one["name"], arguments))
    return tuple(calls), ""


def _value(text: str) -> Any:
    try:
        return decode(text)
    except ValueError:
        return text


def call_text(call: ToolCall, ours: Callable[[str], str] = str) -> str:
    """A call in the one form. ours: how what we write ourselves is put, which others may spell too."""
    said = {"name": call.name, "arguments": dict(call.arguments)}
    return f"{ours(OPEN)}\n{json.dumps(said, ensure_ascii=False, default=dict)}\n{ours(CLOSE)}"
