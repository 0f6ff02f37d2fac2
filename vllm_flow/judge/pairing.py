"""Pairs: each answer of a point with the baseline's to the same prompt and sample, as questions for a judge.

Points are read one after the other, and only the baseline's answers are kept. Questions are rows of an input file, so
that the judge's run can be resumed, replayed and read like any run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from vllm_flow.core.answers import Answer
from vllm_flow.core.messages import Message, assistant
from vllm_flow.core.recorded import read
from vllm_flow.evaluation.answers import answers_of
from vllm_flow.evaluation.scores import Prompt

First = Literal["point", "baseline"]
"""Whose answer is called A."""
ORDERS: tuple[First, First] = ("point", "baseline")
Why = Literal["asked", "identical", "unanswered", "asked otherwise"]
"""What becomes of a pair. Identical answers are a tie without asking; one that is missing, or was asked another
question, cannot be judged."""
ASK = "Which answer is better: A, B, or is it a tie?"
"""Behind both answers, because a small model has forgotten by then what it was told first."""
MISSING: Why = "unanswered"
"""Until a point's record says otherwise."""


class Key(NamedTuple):
    """Which answer of a point."""

    prompt: Prompt
    sample: int


@dataclass(frozen=True, slots=True)
class Said:
    """One answer, and what led to it."""

    asked: tuple[Message, ...]
    before: tuple[Message, ...]
    """Earlier turns of the conversation, which the points answered differently perhaps."""
    text: str | None


@dataclass
class Pairs:
    """What becomes of each pair, by point and answer."""

    why: dict[str, dict[Key, Why]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What of the records was left out, one line each."""

    @property
    def asked(self) -> int:
        return sum(why == "asked" for found in self.why.values() for why in found.values())


def write_pairs(folders: Mapping[str, Path], baseline: str, file: IO[str]) -> Pairs:
    """A row for each question, two of each pair. `folders` are points that have finished, by name.

    Raises RecordError for a record that cannot be read.
    """
    pairs = Pairs()
    against = dict(_said(folders[baseline], pairs.problems))
    for name, folder in folders.items():
        if name == baseline:
            continue
        found = dict.fromkeys(against, MISSING)
        pairs.why[name] = found
        for key, own in _said(folder, pairs.problems):
            found[key] = why = _why(own, against.get(key))
            for first in ORDERS if why == "asked" else ():
                file.write(json.dumps(_row(name, key, own, against[key], first), ensure_ascii=False) + "\n")
    return pairs


def _said(folder: Path, problems: list[str]) -> Iterator[tuple[Key, Said]]:
    recorded, before = read(folder), dict[tuple[str, int], tuple[Message, ...]]()
    for answer in answers_of(recorded):
        name = (answer.prompt[0], answer.sample)
        yield Key(Prompt(*answer.prompt), answer.sample), Said(answer.asked, before.get(name, ()), answer.text)
        before[name] = (*before.get(name, ()), *_exchange(answer))
    problems += recorded.problems


def _exchange(answer: Answer) -> Iterator[Message]:
    yield from answer.asked
    if answer.text is not None:
        yield assistant(answer.text)


def _why(own: Said, other: Said | None) -> Why:
    if other is None or own.text is None or other.text is None:
        return "unanswered"
    if own.asked != other.asked:
        return "asked otherwise"
    return "identical" if own == other else "asked"


def _row(point: str, key: Key, own: Said, other: Said, first: First) -> dict[str, Any]:
    (conversation, turn), sample = key
    answers = {"A": own, "B": other} if first == "point" else {"A": other, "B": own}
    about = {"point": point, "conversation": conversation, "turn": turn, "sample": sample, "first": first}
    return {
        "id": f"{point} {conversation} {turn} {sample} {first}",
        "messages": [{"role": "user", "content": question(own.asked, answers)}],
        "reference": about,
    }


def question(asked: tuple[Message, ...], answers: Mapping[str, Said]) -> str:
    """What the judge reads: the question, and both answers, each behind what came before in its conversation."""
    parts = [f"[Question]\n{_shown(asked)}"]
    for name, said in answers.items():
        if said.before:
            parts.append(f"[Conversation before answer {name}]\n{_shown(said.before)}\n[End of that conversation]")
        parts.append(f"[Answer {name}]\n{said.text}\n[End of answer {name}]")
    return "\n\n".join([*parts, ASK])


def _shown(messages: tuple[Message, ...]) -> str:
    if len(messages) == 1:
        return messages[0].text
    return "\n".join(f"{message.role.capitalize()}: {message.shown}" for message in messages)
