"""Calls as a shape: a schema by which a model can write nothing but a call of an offered function, as it wants it.

A small model makes up what it was not told. Of an argument that has to be said by the user it can therefore write
nothing but what was said: a few words that stand behind each other in a message and may be a name, or nothing.
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
NAMELESS = frozenset({
    "a", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did", "do", "does",
    "else", "for", "from", "get", "give", "go", "going", "had", "has", "have", "he", "her", "him", "his", "how", "i",
    "i'd", "i'll", "i'm", "if", "in", "is", "it", "it's", "its", "let", "like", "may", "me", "might", "must", "my",
    "need", "no", "not", "of", "off", "on", "or", "our", "out", "please", "shall", "she", "should", "so", "some",
    "take", "tell", "than", "that", "their", "them", "then", "there", "these", "they", "this", "those", "to", "up",
    "want", "was", "we", "were", "what", "what's", "when", "where", "which", "who", "why", "will", "with",
    "would", "yes", "you", "your",
})  # fmt: skip
"""English words with which no name begins or ends."""


def shape_of(specs: Sequence[ToolSpec], must: bool, said: Collection[str] = (), texts: Sequence[str] = ()) -> Shape:
    """One call as JSON. must: whether there is to be one; else it may also be that of `NOTHING`.

    said: arguments, such as weather.place, that are taken from the user's messages, whose `texts` are given in order.
    """
    calls = [_call(one.name, _bare(one.parameters, one.name, said, texts)) for one in specs]
    calls += [] if must else [_call(NOTHING, {"type": "object", "properties": {}, "additionalProperties": False})]
    return Shape.of_schema(calls[0] if len(calls) == 1 else {"anyOf": calls})


def spans(text: str, but: Collection[re.Pattern[str]] = ()) -> list[str]:
    """What is said in a message, in pieces of a few words; of those that begin alike the longest first.

    but: without the words of whatever is written so.
    """
    words = list(WORD.finditer(text))
    ends = range(len(words) + 1)
    places = (range(first, last) for first in ends for last in reversed(ends[first + 1 : first + 1 + LONGEST]))
    pieces = {one: " ".join(text[words[one[0]].start() : words[one[-1]].end()].split()) for one in places}
    gone = {place for one, piece in pieces.items() if any(how.search(piece) for how in but) for place in one}
    return list(dict.fromkeys(piece for one, piece in pieces.items() if gone.isdisjoint(one)))


def _may_name(piece: str) -> bool:
    words = WORD.findall(piece.casefold().replace("’", "'"))
    return words != ["the"] and NAMELESS.isdisjoint((words[0], words[-1]))


def _call(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    properties = {"name": {"const": name}, "arguments": arguments}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _bare(schema: Mapping[str, Any], name: str, said: Collection[str], texts: Sequence[str]) -> dict[str, Any]:
    """The schema of a function's arguments, without what describes and does not bind."""
    properties = schema.get("properties", {})
    wanted = {key: one for key, one in properties.items() if f"{name}.{key}" in said}
    written = [re.compile(one["pattern"]) for one in wanted.values() if "pattern" in one]
    taken = {key: _taken(texts, one, written) for key, one in wanted.items()}
    bound = {key: taken.get(key) or _binding(one) for key, one in properties.items()}
    required = [key for key in properties if key in taken or key in schema.get("required", ())]
    return {**_binding(schema), **({"properties": bound, "required": required} if bound else {})}


def _taken(texts: Sequence[str], schema: Mapping[str, Any], written: Collection[re.Pattern[str]]) -> dict[str, Any]:
    """What was said and may be a name, or nothing. Where the schema says how it is written: what the newest message has
    of that kind that has any, and else the default."""
    newest = list(reversed(texts))
    if "pattern" not in schema:
        names = dict.fromkeys(one for text in newest for one in spans(text, written) if _may_name(one))
        return {"enum": ["", *list(names)[:MOST]]}
    pattern = re.compile(schema["pattern"])
    found = next(filter(None, ([one for one in spans(text) if pattern.search(one)] for text in newest)), [])
    whole = [one for one in found if not any(one != other and one in other for other in found)]
    return {"enum": whole[:MOST] or [schema.get("default", "")]}


def _binding(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {key: _binding(one) for key, one in schema.items() if key not in ("description", "default", "title")}
    return [_binding(one) for one in schema] if isinstance(schema, list) else schema
