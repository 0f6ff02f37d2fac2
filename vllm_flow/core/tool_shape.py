"""Calls as a shape: a schema by which a model can write nothing but a call of an offered function, as it wants it.

A small model makes up what it was not told. Of an argument that has to be said by the user it can therefore write
nothing but what was said: a few words that stand behind each other in a message, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vllm_flow.core.shape import Shape
from vllm_flow.core.tool_values import ToolSpec

NOTHING = "answer"
"""What stands for a function where none is needed any more."""
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:[-'’.][^\W_\u3400-\u9fff]+)*")
"""A word, or a character of a language that does not put spaces between them."""
LONGEST, MOST = 4, 400
"""Words of what is taken from a message, and how many of such there may be: those of the newest messages."""


def shape_of(specs: Sequence[ToolSpec], must: bool, said: Collection[str] = (), texts: Sequence[str] = ()) -> Shape:
    """One call as JSON. must: whether there is to be one; else it may also be that of `NOTHING`.

    said: arguments, such as weather.place, that are taken from the user's messages, whose `texts` are given in order.
    """
    calls = [_call(one.name, _bare(one.parameters, one.name, said, texts)) for one in specs]
    calls += [] if must else [_call(NOTHING, {"type": "object", "properties": {}, "additionalProperties": False})]
    return Shape.of_schema(calls[0] if len(calls) == 1 else {"anyOf": calls})


def spans(text: str) -> list[str]:
    """What is said in a message, in pieces of a few words; of those that begin alike the longest first."""
    words = [(one.start(), one.end()) for one in WORD.finditer(text)]
    pieces = (
        (start, end) for place, (start, _) in enumerate(words) for _, end in reversed(words[place : place + LONGEST])
    )
    return list(dict.fromkeys(" ".join(text[start:end].split()) for start, end in pieces))


def _call(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    properties = {"name": {"const": name}, "arguments": arguments}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _bare(schema: Mapping[str, Any], name: str, said: Collection[str], texts: Sequence[str]) -> dict[str, Any]:
    """The schema of a function's arguments, without what describes and does not bind."""
    properties = schema.get("properties", {})
    taken = {key: _taken(texts, one) for key, one in properties.items() if f"{name}.{key}" in said}
    bound = {key: taken.get(key) or _binding(one) for key, one in properties.items()}
    required = [key for key in properties if key in taken or key in schema.get("required", ())]
    return {**_binding(schema), **({"properties": bound, "required": required} if bound else {})}


def _taken(texts: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Anything that was said, or nothing. Where the schema says how it is written: what the newest message has of that
    kind that has any, and else the default."""
    newest = [spans(text) for text in reversed(texts)]
    if "pattern" not in schema:
        return {"enum": ["", *list(dict.fromkeys(one for some in newest for one in some))[:MOST]]}
    pattern = re.compile(schema["pattern"])
    found = next(filter(None, ([one for one in some if pattern.search(one)] for some in newest)), [])
    whole = [one for one in found if not any(one != other and one in other for other in found)]
    return {"enum": whole[:MOST] or [schema.get("default", "")]}


def _binding(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {key: _binding(one) for key, one in schema.items() if key not in ("description", "default", "title")}
    return [_binding(one) for one in schema] if isinstance(schema, list) else schema
