"""The answers that a page carries: prompts in the order of the input, as many as the page stays light with.

What is left out, or cut off, is said, with the place where it lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from vllm_flow.core.answers import Answer
from vllm_flow.core.recorded import read
from vllm_flow.evaluation.answers import answers_of
from vllm_flow.evaluation.scores import Prompt
from vllm_flow.report.courses import MOST_POINTS, Courses
from vllm_flow.report.reading import Sweep, Swept

MAX_PROMPTS = 200
MAX_CHARACTERS = 4_000_000
SHORTEST_CUT = 400
"""Answers are not cut below this, whatever their number."""
TOKEN_CHARACTERS = 12
"""About what a token with its probability takes in JSON, beside its text."""


@dataclass(frozen=True)
class Embedded:
    """Answers side by side."""

    prompts: list[dict[str, Any]] = field(default_factory=list)
    answers: list[list[list[dict[str, Any]]]] = field(default_factory=list)
    """By prompt, by point, by sample; a point without any has none."""
    left_out: str = ""
    """What the page lacks; empty for nothing."""


def embedded(sweep: Sweep, max_characters: int = MAX_CHARACTERS) -> Embedded:
    """Read them from the records. Raises RecordError for one that has become unreadable."""
    all_prompts = tuple(dict.fromkeys(p for one in sweep.points if one.scores for p in one.scores.prompts))
    wanted = all_prompts[:MAX_PROMPTS]
    cut = max(SHORTEST_CUT, max_characters // (4 * len(sweep.points)))
    asked: dict[Prompt, dict[str, Any]] = {}
    found: list[dict[Prompt, dict[int, dict[str, Any]]]] = []
    for point in sweep.points:
        found.append(_of_point(point, frozenset(wanted), asked, cut, sweep.configured))
    prompts: list[dict[str, Any]] = []
    answers: list[list[list[dict[str, Any]]]] = []
    size = 0
    for prompt in wanted:
        if prompt not in asked:
            continue
        row = [[one[prompt][sample] for sample in sorted(one.get(prompt, ()))] for one in found]
        size += _size([asked[prompt], row])
        if size > max_characters and prompts:
            break
        prompts.append(asked[prompt])
        answers.append(row)
    shown = [one for row in answers for samples in row for one in samples]
    any_cut = any(one.get("cut") for one in [*shown, *(one for prompt in prompts for one in prompt["asked"])])
    any_thin = any(one.get("course", {}).get("thin") for one in shown)
    return Embedded(prompts, answers, _left_out(len(prompts), len(all_prompts), cut if any_cut else None, any_thin))


def _left_out(kept: int, there_are: int, cut: int | None, any_thin: bool) -> str:
    where = "All of them are in results.jsonl in each point's folder."
    said = f"These are the first {kept} of {there_are} prompts. " if kept < there_are else ""
    said += f"Texts of more than {cut} characters are cut off. " if cut else ""
    thin = f"Curves of more than {MOST_POINTS} tokens are thinned out; every value is in calls.jsonl."
    return " ".join([*([said + where] if said else []), *([thin] if any_thin else [])])


def _of_point(
    point: Swept, wanted: frozenset[Prompt], asked: dict[Prompt, dict[str, Any]], cut: int, configured: tuple[str, ...]
) -> dict[Prompt, dict[int, dict[str, Any]]]:
    found: dict[Prompt, dict[int, dict[str, Any]]] = {}
    if point.scores is None:
        return found
    scores = point.scores
    rows = {prompt: row for row, prompt in enumerate(scores.prompts)}
    columns = {sample: column for column, sample in enumerate(scores.samples)}
    shown = [name for name in configured if name in scores.summaries and not scores.summaries[name].over_samples]
    recorded = read(point.folder)
    answers = [one for one in answers_of(recorded) if Prompt(*one.prompt) in wanted]
    courses = Courses(recorded)
    courses.read(frozenset(one.index for one in answers))
    for answer in answers:
        prompt = Prompt(*answer.prompt)
        asked.setdefault(prompt, _asked(answer, prompt, cut))
        marks = {name: scores.values[name][rows[prompt]][columns[answer.sample]] for name in shown}
        place = (answer.sample - answer.repeat) // recorded.spec.repeat
        course = courses.of(answer.index, answer.turn, place)
        told = {} if course is None else {"course": course}
        found.setdefault(prompt, {})[answer.sample] = {**_answer(answer, marks, cut), **told}
    return found


def _asked(answer: Answer, prompt: Prompt, cut: int) -> dict[str, Any]:
    messages = [
        {"role": one.role, "text": one.text[:cut], **({"cut": True} if len(one.text) > cut else {})}
        for one in answer.asked
    ]
    return {"conversation": prompt.conversation, "turn": prompt.turn, "asked": messages,
            "reference": answer.reference}  # fmt: skip


def _answer(answer: Answer, marks: Mapping[str, Any], cut: int) -> dict[str, Any]:
    text = answer.text
    found: dict[str, Any] = {
        "sample": answer.sample,
        "text": None if text is None else text[:cut],
        "tokens_out": answer.completion_tokens,
        "finish": answer.finish_reason,
        "marks": marks,
    }
    if text is not None and len(text) > cut:
        found["cut"] = True
    elif text is not None and answer.logprobs and answer.text_ends and len(answer.logprobs) == len(answer.text_ends):
        pieces = [text[start:end] for start, end in pairwise((0, *answer.text_ends))]
        shares = [round(math.exp(one), 4) for one in answer.logprobs]
        found["tokens"] = [[piece, share] for piece, share in zip(pieces, shares, strict=True)]
    if answer.failure is not None:
        found["failure"] = answer.failure.message
    return found


def _size(value: Any) -> int:
    """About how many characters it takes in the page."""
    match value:
        case str():
            return len(value)
        case dict():
            tokens = value.get("tokens", ())
            rest = sum(_size(item) + 12 for name, item in value.items() if name != "tokens")
            return rest + sum(TOKEN_CHARACTERS + len(piece) for piece, _ in tokens)
        case list():
            return sum(map(_size, value))
        case _:
            return 6
