"""Reads the record of a run, answer by answer, so that it may be larger than memory.

Of a run that was killed, or still goes on, the last line may be half a one: it is left out and told in `problems`. Any
other line that cannot be read is an error, since scores of half a record would look like scores of all of it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from vllm_flow.core.answers import Answer
from vllm_flow.core.codec import decode, message_from_json
from vllm_flow.core.errors import RecordError
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Failure

RESULTS, TIMINGS = "results.jsonl", "timings.jsonl"
Timing = tuple[float, float]
"""Time to first token, and to the last, in seconds."""
Requests = dict[tuple[str, int], Timing]
"""The requests of one turn, by node and by sample of the node."""
Timings = dict[tuple[str, int | None], Requests]
"""By conversation and turn."""


class Recorded:
    """The folder of one run. Raises RecordError when it is none, or cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run: dict[str, Any] = self._parsed("run.json", json.loads)
        """What `run.json` holds: status, seed, versions …"""
        self.problems: list[str] = []
        """What was left out, one line each; complete when all answers have been read."""

    @property
    def spec(self) -> RunSpec:
        """The configuration, with nothing known of where it was written."""
        content = self._parsed("config.yaml", yaml.safe_load)
        known = {one.name for one in dataclasses.fields(RunSpec) if not one.metadata}
        if strange := sorted(set(content) - known):
            what = f"there is no key '{strange[0]}' in this version. Read the record with the one that wrote it."
            raise RecordError(f"{self.folder / 'config.yaml'}: {what}")
        return RunSpec(**content)

    def answers(self) -> Iterator[Answer]:
        """In the order of the file, which is that of the input once a run has ended.

        A row whose value is a list of answers, as `infer/sample` gives one, is as many samples: first come the first
        of every repeat, so that no number depends on how long a list is.
        """
        self.problems.clear()
        timings, spec = self._timings(), self.spec
        for where, row in self._rows(RESULTS):
            try:
                yield from _answers(row, spec, timings)
            except (KeyError, TypeError, ValueError) as error:
                what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error).removesuffix(".")
                raise RecordError(f"{where}: this is no result: {what}. Restore the file, or run again.") from error

    def requests(self) -> Iterator[dict[str, Any]]:
        """Each request to an engine, as `timings.jsonl` has it; of one that a killed run made again, the last."""
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        if (self.folder / TIMINGS).exists():
            for _, row in self._rows(TIMINGS):
                found[row["conversation"], row["turn"], row["node"], row["sample"]] = row
        yield from found.values()

    def _timings(self) -> Timings:
        """Of each turn, the time of every request."""
        found: Timings = {}
        for row in self.requests():
            known = found.setdefault((row["conversation"], row["turn"]), {})
            known[row["node"], row["sample"]] = row["ttft_s"], row["seconds"]
        return found

    def _rows(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The lines of a file, each with its place."""
        path = self.folder / name
        try:
            with path.open("rb") as file:  # as bytes, so that only a newline ends a line: a text may hold U+2028
                for number, line in enumerate(file, 1):
                    where = f"{path}:{number}"
                    try:
                        row = decode(line.decode("utf-8"))
                    except ValueError as error:
                        if not line.endswith(b"\n"):
                            self.problems.append(f"{where}: the last line is cut off, and was left out.")
                            return
                        raise RecordError(f"{where}: {error}") from error
                    yield where, row
        except OSError as error:
            raise _unreadable(path, error) from error

    def _parsed(self, name: str, parse: Any) -> dict[str, Any]:
        path = self.folder / name
        try:
            found = parse(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise _unreadable(path, error) from error
        except (ValueError, yaml.YAMLError) as error:
            raise RecordError(
                f"{path}: it cannot be read: {' '.join(str(error).split())}. Restore the file."
            ) from error
        if not isinstance(found, dict):
            raise RecordError(f"{path}: it holds no mapping. Restore the file.")
        return found


def _unreadable(path: Path, error: OSError) -> RecordError:
    return RecordError(f"{path}: {error.strerror or error}. Name the folder of a run, with run.json and results.jsonl.")


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
