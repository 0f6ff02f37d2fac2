"""Scoring: a run's metrics over its recorded answers, written beside them as `scores.jsonl`.

Answers are read one by one and only their values are kept; where a metric is over samples, so are the answers. A metric
that raises fails its own value and no other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from vllm_flow.core.answers import Answer, Marks
from vllm_flow.core.errors import RecordError, told
from vllm_flow.core.files import replaced
from vllm_flow.core.metrics import Metric, Value, metrics_of
from vllm_flow.core.recorded import read
from vllm_flow.evaluation.answers import answers_of
from vllm_flow.evaluation.scores import Prompt, Scores, Summary, Unscored, mean_of

FILE = "scores.jsonl"


def score_run(folder: Path, metrics: Mapping[str, Metric] | None = None) -> Scores:
    """Score the record in `folder` and write `scores.jsonl` there, one line an answer.

    `{conversation, turn, sample, index, metrics: {name: value}}`, with `failed: {name: reason}` where there is one.

    `metrics` are those of the record's own configuration if not given: the user's own among them are imported, from the
    working directory. Raises RecordError for what cannot be read or written, ConfigError for metrics that there are no
    more.
    """
    recorded = read(folder)
    scoring = _Scoring(metrics_of(recorded.spec) if metrics is None else metrics)
    try:
        with replaced(folder / FILE) as file:
            for answer in answers_of(recorded):
                scoring.add(answer, file)
    except OSError as error:
        raise RecordError(f"{folder / FILE}: it cannot be written: {error.strerror or error}. Free space.") from error
    return scoring.scores(folder, tuple(recorded.problems))


@dataclass
class _Row:
    """One prompt while it is scored."""

    first: int
    """The lowest index of its answers."""
    values: dict[int, Mapping[str, Value]] = field(default_factory=dict)
    """By sample, then by metric of single answers."""
    failed: dict[int, Mapping[str, str]] = field(default_factory=dict)
    """Likewise the reasons of those that failed."""
    answers: dict[int, Answer] = field(default_factory=dict)


class _Scoring:
    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.single = {name: one for name, one in metrics.items() if not one.over_samples}
        self.over = {name: one for name, one in metrics.items() if one.over_samples}
        self.rows: dict[Prompt, _Row] = {}
        self.twice = self.failed_turns = 0

    def add(self, answer: Answer, file: IO[str]) -> None:
        values: dict[str, Value] = {}
        failed: dict[str, str] = {}
        for name, metric in self.single.items():
            try:
                values[name] = metric.of_answer(answer)
            except Exception as error:  # the metric is somebody else's
                values[name], failed[name] = None, _reason(error)
        row = self.rows.setdefault(Prompt(*answer.prompt), _Row(answer.index))
        self.twice += answer.sample in row.values
        self.failed_turns += answer.failure is not None
        row.first = min(row.first, answer.index)
        row.values[answer.sample], row.failed[answer.sample] = values, failed
        if self.over:
            row.answers[answer.sample] = answer
        key = {name: getattr(answer, name) for name in ("conversation", "turn", "sample", "index")}
        line = {**key, "metrics": values, **({"failed": failed} if failed else {})}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def scores(self, folder: Path, problems: tuple[str, ...]) -> Scores:
        rows = dict(sorted(self.rows.items(), key=lambda item: item[1].first))
        samples = tuple(sorted({sample for row in rows.values() for sample in row.values}))
        failures = [
            (name, reason, prompt)
            for prompt, row in rows.items()
            for sample in sorted(row.failed)
            for name, reason in row.failed[sample].items()
        ]
        values: dict[str, tuple[tuple[Value, ...], ...]] = {
            name: tuple(tuple(row.values.get(sample, {}).get(name) for sample in samples) for row in rows.values())
            for name in self.single
        }
        for name in self.over:
            found = {prompt: self.of_samples(name, row) for prompt, row in rows.items()}
            values[name] = tuple((value,) for value, _ in found.values())
            failures += [(name, reason, prompt) for prompt, (_, reason) in found.items() if reason]
        failed = Counter(name for name, _, _ in failures)
        summaries = {name: self.summary(name, values[name], failed[name]) for name in self.metrics}
        if self.twice:
            problems += (f"{folder}: {self.twice} answers are there more than once. The last of each counts.",)
        return Scores(folder, tuple(rows), samples, values, summaries, self.failed_turns, _grouped(failures), problems)

    def of_samples(self, name: str, row: _Row) -> tuple[Value, str]:
        """The value of a metric over samples, or why it has none."""
        order = sorted(row.answers)
        answers = tuple(row.answers[sample] for sample in order)
        metric = self.over[name]
        try:
            marks: dict[str, Marks] = {
                source: self.single[source].marks(answers, tuple(row.values[sample][source] for sample in order))
                for source in metric.sources.values()
                if source in self.single
            }
            return metric.of_samples(answers, marks), ""
        except Exception as error:  # the metric is somebody else's
            return None, _reason(error)

    def summary(self, name: str, values: tuple[tuple[Value, ...], ...], failed: int) -> Summary:
        metric = self.metrics[name]
        mean, prompts, known = mean_of(values)
        asked = len(self.rows) if metric.over_samples else sum(len(row.values) for row in self.rows.values())
        return Summary(
            name,
            metric.use,
            metric.higher_is_better,
            metric.over_samples,
            mean=mean,
            prompts=prompts,
            values=known,
            not_applied=asked - known - failed,
            failed=failed,
        )


def _reason(error: Exception) -> str:
    return str(error) if type(error) is ValueError and str(error) else told(error)


def _grouped(failures: list[tuple[str, str, Prompt]]) -> tuple[Unscored, ...]:
    """One for each metric and reason, in the order they were met."""
    counts = Counter((name, reason) for name, reason, _ in failures)
    first = {(name, reason): prompt for name, reason, prompt in reversed(failures)}
    return tuple(Unscored(*one, count, first[one]) for one, count in counts.items())
