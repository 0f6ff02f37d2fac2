"""Skeletons: which control tokens a template puts together of pieces, as `'<|' + message['role'] + '|>'` does.

Nothing of that is in its source to be sealed. So it is run once more, with a mark in place of all that messages say:
what stands between the marks is its own, as far as the real text is the same around what messages say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

from vllm_flow.core.messages import Message
from vllm_flow.core.tool_prompts import function_json
from vllm_flow.core.tool_values import ToolCall, ToolResult
from vllm_flow.core.values import Prompt
from vllm_flow.seam.seals import Place, Seals, check_no_seals, theirs, unclear

EDGE = "\U0010ffff"
"""Another noncharacter."""
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
    marked, said = _marked(prompt)
    skeleton = reader.render(marked, seals if sure else None)
    built = reader.found(skeleton)
    if sure and not built:
        return ours
    runs = _runs(ours, skeleton, said)
    if runs is None or any(reader.found(one) for one in _unmarked(prompt)):
        raise unclear(rest[0].name)
    ours = seals.seal_at(ours, [moved for one in built for moved in _moved(one, runs)])
    return ours if theirs(found, seals.places(ours)) else None


def _marked(prompt: Prompt) -> tuple[Prompt, list[str]]:
    """With a mark in place of each text, but for the space around it, and what the marks are for."""
    said, messages = list[str](), list[Message]()
    for message in prompt.messages:
        parts = list[Any]()
        for part in message.parts:
            has_text = is_dataclass(part) and any(one.name == "text" for one in fields(part))
            core = part.text.strip()
            if has_text and core:
                text = part.text.replace(core, f"{EDGE}{len(said)}{EDGE}", 1)
                parts.append(replace(cast(Any, part), text=text))
                said.append(core)
            else:
                parts.append(part)
        messages.append(replace(message, parts=tuple(parts)))
    return replace(prompt, messages=tuple(messages)), said


def _unmarked(prompt: Prompt) -> Iterator[str]:
    """What else others have said."""
    for one in prompt.tools:
        yield json.dumps(function_json(one), ensure_ascii=False)
    for message in prompt.messages:
        for part in message.parts:
            if isinstance(part, ToolCall | ToolResult):
                yield f"{part.name}\n{part.id}"
            if isinstance(part, ToolCall):
                yield json.dumps(dict(part.arguments), ensure_ascii=False, default=dict)


def _runs(text: str, skeleton: str, said: Sequence[str]) -> list[tuple[int, int, int]] | None:
    """What stands between marks: where in the skeleton, up to where, and where in the text; None where it differs.

    A text may stand there as it was said, or as JSON has it.
    """
    pieces = MARK.split(skeleton)
    between, numbers = pieces[::2], [int(one) for one in pieces[1::2]]
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
