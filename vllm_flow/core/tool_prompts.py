"""Prompts with tools for models whose template has no form for them: all that is said of tools, said in texts.

Whose each part of a message is stays known to the prompt's ledger, so that it still adds up: what is put in is the
tools'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vllm_flow.core.ledger import TOOLS
from vllm_flow.core.media import Medium
from vllm_flow.core.messages import Message, Part, Role, Text
from vllm_flow.core.tool_text import CLOSE, OPEN, call_text
from vllm_flow.core.tool_values import ToolCall, ToolResult, ToolSpec
from vllm_flow.core.values import Prompt

OF_TOOLS = ToolCall | ToolResult
UNTOLD = ("pattern", "title")
ANSWER = "<tool_response>"
HOW = f"""You may call functions to find out what you do not know. They are described by these JSON Schemas:
<tools>
%s
</tools>
To call one, write its name and its arguments as JSON, and nothing else:
{OPEN}
{{"name": "…", "arguments": {{…}}}}
{CLOSE}
What it gives then comes in {ANSWER}</tool_response>. Answer from that."""


def function_json(spec: ToolSpec) -> dict[str, Any]:
    """A function as chat templates and chat services take it; without patterns, which its description says in words."""
    about = {"name": spec.name, "description": spec.description, "parameters": _told(spec.parameters)}
    return {"type": "function", "function": about}


def _told(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {key: _told(one) for key, one in schema.items() if not (key in UNTOLD and isinstance(one, str))}
    return [_told(one) for one in schema] if isinstance(schema, list) else schema


def has_tools(prompt: Prompt) -> bool:
    """Whether a prompt says anything of tools."""
    return bool(prompt.tools) or any(isinstance(part, OF_TOOLS) for one in prompt.messages for part in one.parts)


def written_out(prompt: Prompt, ours: Callable[[str], str] = str) -> Prompt:
    """The same in texts alone: what there is to be called in the system message, calls and results in the others.

    ours: how what we write ourselves is put, such as `<tool_call>`: the texts that it goes into may spell that, too.
    """
    rows = list(_merged(_in_words(one, ours) for one in _rows(prompt)))
    if prompt.tools:
        about = ours(HOW) % "\n".join(json.dumps(function_json(one), ensure_ascii=False) for one in prompt.tools)
        if rows and rows[0].role == "system":
            rows[0] = rows[0].with_(Text(f"\n\n{about}"))
        else:
            rows.insert(0, _Row("system", ((Text(about), TOOLS),)))
    return _of(replace(prompt, tools=()), rows)


def folded(prompt: Prompt) -> Prompt:
    """The same without a trace of calls: what they gave stands before the question that it was for.

    A small model goes on with what it sees. One that is held to calls where it may call, and was not trained on any,
    would write calls in its answer, too.
    """
    rows: list[_Row] = []
    for row in _rows(prompt):
        told = [(part.text, name) for part, name in row.parts if isinstance(part, ToolResult)]
        asked = next((place for place in reversed(range(len(rows))) if rows[place].role == "user"), None)
        if told and asked is not None:
            before = tuple((Text(f"{text}\n"), name) for text, name in told)
            rows[asked] = _Row("user", (*before, *rows[asked].parts))
        elif not any(isinstance(part, OF_TOOLS) for part, _ in row.parts):
            rows.append(row)
    return _of(prompt, rows)


@dataclass(frozen=True, slots=True)
class _Row:
    """A message, with the segment that each of its parts belongs to."""

    role: Role
    parts: tuple[tuple[Part, str], ...]
    answers: bool = False
    """Whether it says what tools gave."""

    def with_(self, part: Part, name: str = TOOLS) -> _Row:
        return _Row(self.role, (*self.parts, (part, name)))


def _rows(prompt: Prompt) -> list[_Row]:
    """Messages behind those that the ledger knows are of this turn's rounds."""
    whose: Sequence[Sequence[str]] = prompt.ledger.whose if prompt.ledger else ()
    names = [*whose, *((TOOLS,) * len(one.parts) for one in prompt.messages[len(whose) :])]
    pairs = zip(prompt.messages, names, strict=True)
    return [_Row(one.role, tuple(zip(one.parts, some, strict=True))) for one, some in pairs]


def _of(prompt: Prompt, rows: Sequence[_Row]) -> Prompt:
    messages = tuple(Message(row.role, tuple(part for part, _ in row.parts)) for row in rows)
    whose = tuple(tuple(name for _, name in row.parts) for row in rows)
    ledger = replace(prompt.ledger, whose=whose) if prompt.ledger and prompt.ledger.whose else prompt.ledger
    return replace(prompt, messages=messages, ledger=ledger)


def _in_words(row: _Row, ours: Callable[[str], str]) -> _Row:
    if row.role != "tool" and not any(isinstance(part, OF_TOOLS) for part, _ in row.parts):
        return row
    role: Role = "user" if row.role == "tool" else row.role
    parts = [(part if isinstance(part, Medium) else Text(_part_text(part, ours)), name) for part, name in row.parts]
    lined = ((Text(f"{part.text}\n") if isinstance(part, Text) else part, name) for part, name in parts[:-1])
    return _Row(role, (*lined, *parts[-1:]), row.role == "tool")


def _part_text(part: Part, ours: Callable[[str], str]) -> str:
    match part:
        case ToolCall():
            return call_text(part, ours)
        case ToolResult(text=text):
            return f"{ours(ANSWER)}\n{text}\n{ours('</tool_response>')}"
    return part.text


def _merged(rows: Iterable[_Row]) -> Iterable[_Row]:
    """A template may want user and assistant to take turns: results of several messages are one of the user's."""
    last: _Row | None = None
    for row in rows:
        if last is not None and last.role == "user" and row.answers:
            last = _Row("user", (*last.parts, (Text("\n"), TOOLS), *row.parts))
            continue
        if last is not None:
            yield last
        last = row
    if last is not None:
        yield last
