"""The answers of a recorded run, one by one, so that the record may be larger than memory.

Of a run that was killed, or still goes on, the last line may be half a one: it is left out and told in the record's
`problems`. Any other line that cannot be read is an error: scores of half a record would look like scores of all of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from vllm_flow.core.answers import Answer
from vllm_flow.core.errors import RecordError
from vllm_flow.core.message_json import message_from_json
from vllm_flow.core.recorded import Recorded
from vllm_flow.core.results import Failure
from vllm_flow.core.spec import RunSpec

RESULTS, TIMINGS = "results.jsonl", "timings.jsonl"
Timing = tuple[float, float]
"""Time to first token, and to the last, in seconds."""
Requests = dict[tuple[str, int], Timing]
"""The requests of one turn, by node and by sample of the node."""
Timings = dict[tuple[str, int | None], Requests]
"""By conversation and turn."""


def answers_of(recorded: Recorded) -> Iterator[Answer]:
    """In the order of the file, which is that of the input once a run has ended. Raises RecordError.

    A row whose value is a list of answers, as `infer/sample` gives one, is as many samples: first come the first
    of every repeat, so that no number depends on how long a list is.
    """
    path, timings = recorded.folder / RESULTS, _timings(recorded)
    if not path.exists():
        raise RecordError(f"{path}: there is no such file. Restore it, or run again.")
    for number, row in enumerate(recorded.rows(RESULTS), start=1):
        try:
            yield from _answers(row, recorded.spec, timings)
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(f"{path}:{number}: this is no result", error) from error


def requests_of(recorded: Recorded) -> Iterator[dict[str, Any]]:
    """Each request to an engine, as `timings.jsonl` has it; of one that a killed run made again, the last.

    Raises RecordError.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, row in enumerate(recorded.rows(TIMINGS), start=1):
        try:
            found[row["conversation"], row["turn"], row["node"], row["sample"]] = row
        except (KeyError, TypeError) as error:
            raise _broken(f"{recorded.folder / TIMINGS}:{number}: this is no timing", error) from error
    yield from found.values()


def _timings(recorded: Recorded) -> Timings:
    """Of each turn, the time of every request."""
    found: Timings = {}
    for row in requests_of(recorded):
        known = found.setdefault((row["conversation"], row["turn"]), {})
        known[row["node"], row["sample"]] = row["ttft_s"], row["seconds"]
    return found


def _broken(where: str, error: Exception) -> RecordError:
    what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error).removesuffix(".")
    return RecordError(f"{where}: {what}. Restore the file, or run again.")


def _answers(row: dict[str, Any], spec: RunSpec, timings: Timings) -> Iterator[Answer]:
    output = str(spec.output)
    asked = (*row.get("history", ()), row["message"])
    answer = Answer(
        row["conversation"],
        row["turn"],
        row["sample"],
        row["index"],
        row["sample"],
        reference=row.get("reference"),
        asked=tuple(map(message_from_json, asked)),
        failure=Failure(**row["failure"]) if row["failure"] else None,
    )
    value, requests = row["value"], timings.get((answer.conversation, answer.turn), {})
    if isinstance(value, list) and value:
        for place, one in enumerate(value):
            sample = place * spec.repeat + answer.repeat
            yield _with_value(dataclasses.replace(answer, sample=sample), one, requests.get((output, place)))
    else:
        yield _with_value(answer, value, _longest(output, requests))


def _longest(output: str, requests: Requests) -> Timing | None:
    """Of the requests that the output node made or, where it only chooses among answers, of all of the turn."""
    own = [timing for (node, _), timing in requests.items() if node == output] or list(requests.values())
    return max(own, key=lambda timing: timing[1], default=None)


def _with_value(answer: Answer, value: Any, timing: Timing | None) -> Answer:
    """What the output node made: a completion, a scored text, or anything else that has a text or is one."""
    timed: dict[str, Any] = dict(zip(("ttft_s", "seconds"), timing or (), strict=False))
    if not isinstance(value, dict):
        return dataclasses.replace(answer, text=value if isinstance(value, str) else None, **timed)
    usage, ids, logprobs = value.get("usage") or {}, value.get("token_ids"), value.get("logprobs")
    ends = value.get("text_ends")
    return dataclasses.replace(
        answer,
        text=value.get("text"),
        token_ids=None if ids is None else tuple(ids),
        finish_reason=value.get("finish_reason"),
        prompt_tokens=usage.get("prompt_tokens", value.get("prompt_tokens")),
        completion_tokens=usage.get("completion_tokens"),
        logprobs=None if logprobs is None else tuple(-math.inf if one is None else float(one) for one in logprobs),
        text_ends=None if ends is None else tuple(ends),
        **timed,
    )
