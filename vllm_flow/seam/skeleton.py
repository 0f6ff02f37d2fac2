"""Skeletons: which control tokens a template puts together of pieces, as `'<|' + message['role'] + '|>'` does.

Nothing of that is in its source to be sealed. So it is run once more, with a mark in place of all that messages say:
what stands between the marks is its own, as far as the real text is the same around what messages say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from vllm_flow.core.messages import Message, Part, Text
from vllm_flow.core.tool_values import ToolCall, ToolResult, ToolSpec
from vllm_flow.core.values import Prompt
from vllm_flow.seam.seals import Place, Seals, check_no_seals, theirs, unclear

EDGE = "\U0010ffff"
"""Another noncharacter."""
STAND_INS = 0x100000
"""Of Unicode's private use, from here on: what stands for the letters that control tokens begin with."""
SPEC = [one.name for one in fields(ToolSpec)]
MARK = re.compile(f"{EDGE}([0-9]+){EDGE}")


@dataclass(frozen=True)
class Reader:
    """What an engine does with a prompt, as far as the seam asks."""

    render: Callable[[Prompt, Seals | None], str]
    """The text that is read; with seals, where it is told of them."""
    found: Callable[[str], Sequence[Place]]
    """The control tokens that the tokenizer finds in a text."""


def sealed(seals: Seals, prompt: Prompt, text: str, found: Sequence[Place], reader: Reader) -> str | None:
    """The text with seals for the control tokens of our side; None while nobody else has spelled any.

    text: as it is rendered. found: the control tokens that the tokenizer finds there. Raises EngineError where it
    cannot be told who has.
    """
    if not found:
        return None
    check_no_seals(text)
    ours = reader.render(prompt, seals)
    sure = seals.unseal(ours) == text
    if not sure:  # the template looks for something that it writes, too
        ours = text
    rest = theirs(found, seals.places(ours))
    if not rest:
        return None
    letters = sorted({*seals.begins, EDGE})  # an edge that others write is none
    marked, said = _marked(prompt, {ord(one): STAND_INS + place for place, one in enumerate(letters)})
    skeleton = reader.render(marked, seals if sure else None)
    built = reader.found(skeleton)
    if sure and not built:
        return ours
    runs = _runs(ours, skeleton, said, {STAND_INS + place: one for place, one in enumerate(letters)})
    if runs is None and not seals.begins.intersection(_all_said(prompt)) and _names(rest) == _names(built):
        return None  # the template changes what is said, which has not a letter that a control token begins with
    if runs is None:
        raise unclear(rest[0].name)
    ours = seals.seal_at(ours, [moved for one in built for moved in _moved(one, runs)])
    return ours if theirs(found, seals.places(ours)) else None


def _names(places: Sequence[Place]) -> list[str]:
    return [one.name for one in places]


def _all_said(prompt: Prompt) -> str:
    parts = [part for message in prompt.messages for part in message.parts]
    others = [*prompt.tools, *(part for part in parts if isinstance(part, ToolCall | ToolResult))]
    return "".join([*(part.text for part in parts), *map(repr, others)])


def _marked(prompt: Prompt, stand_ins: Mapping[int, int]) -> tuple[Prompt, list[str]]:
    """With a mark in place of each text, but for the space around it, and what the marks are for.

    What else others have said keeps its form, for templates ask for it, but for letters that others stand in for.
    """
    said, messages = list[str](), list[Message]()
    for message in prompt.messages:
        parts = list[Part]()
        for part in message.parts:
            if isinstance(part, ToolCall | ToolResult):
                part = replace(part, name=_defused(part.name, stand_ins), id=_defused(part.id, stand_ins))  # noqa: PLW2901
            if isinstance(part, ToolCall):
                parts.append(replace(part, arguments=_defused(part.arguments, stand_ins)))
            elif isinstance(part, Text | ToolResult) and (core := part.text.strip()):
                parts.append(replace(part, text=part.text.replace(core, f"{EDGE}{len(said)}{EDGE}", 1)))
                said.append(core)
            else:
                parts.append(part)
        messages.append(replace(message, parts=tuple(parts)))
    tools = tuple(ToolSpec(*(_defused(getattr(one, name), stand_ins) for name in SPEC)) for one in prompt.tools)
    return replace(prompt, messages=tuple(messages), tools=tools), said


def _defused(value: Any, stand_ins: Mapping[int, int]) -> Any:
    """The same JSON value, with what stands in for its letters."""
    if isinstance(value, str):
        return value.translate(stand_ins)
    if isinstance(value, Mapping):
        return {_defused(key, stand_ins): _defused(one, stand_ins) for key, one in value.items()}
    return [_defused(one, stand_ins) for one in value] if isinstance(value, list | tuple) else value


def _runs(
    text: str, skeleton: str, said: Sequence[str], stood_for: Mapping[int, str]
) -> list[tuple[int, int, int]] | None:
    """What stands between marks: where in the skeleton, up to where, and where in the text; None where it differs.

    A text may stand there as it was said, or as JSON has it. stood_for: the letters, by what stands in for them.
    """
    pieces = MARK.split(skeleton)
    between, numbers = [one.translate(stood_for) for one in pieces[::2]], [int(one) for one in pieces[1::2]]
    if not text.startswith(between[0]):
        return None
    place, here = 0, 0
    runs = list[tuple[int, int, int]]()
    for at, own in enumerate(between):
        runs.append((here, here + len(own), place))
        place, here = place + len(own), here + len(own)
        if at == len(numbers):
            break
        core, after, last = said[numbers[at]], between[at + 1], at + 1 == len(numbers)
        escaped = (json.dumps(core, ensure_ascii=how)[1:-1] for how in (False, True))
        stops = [place + len(one) for one in (core, *escaped) if text.startswith(one, place)]
        stop = next((one for one in stops if (text[one:] == after if last else text.startswith(after, one))), None)
        if stop is None:
            return None
        place, here = stop, here + len(pieces[2 * at + 1]) + 2
    return runs if place == len(text) else None


def _moved(one: Place, runs: Sequence[tuple[int, int, int]]) -> Iterator[Place]:
    """The same control token in the text, if it stands within one run."""
    for start, stop, place in runs:
        if start <= one.start and one.stop <= stop:
            shift = place - start
            yield Place(one.start + shift, one.stop + shift, one.name)
