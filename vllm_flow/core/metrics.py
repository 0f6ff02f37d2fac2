"""Metrics: a table of named values over recorded answers, checked like a graph before anything runs.

A metric asks for what it wants by naming it as a parameter of `score`: `text`, `reference` or `answer` for one answer;
`texts`, `answers` or the name of another metric for all samples of a prompt. `from: {parameter: value}` renames a wire.
What is not there is not given, and a metric that needs it does not apply: None, which is no zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.answers import Answer, Marks
from vllm_flow.core.errors import ConfigError, listed, nearest, shown
from vllm_flow.core.metric_ports import GIVEN, SINGLE, over_samples
from vllm_flow.core.parts import Parts
from vllm_flow.core.ports import Ports, fits, type_name
from vllm_flow.core.spec import Path, RunSpec

Value = float | bool | None
ALWAYS: Mapping[str, str] = {
    "tokens": "length/tokens",
    "words": "length/words",
    "characters": "length/characters",
    "truncated": "length/truncated",
    "repetition": "text/repetition",
    "ttft_s": "time/first_token",
    "seconds": "time/whole",
}
"""Measured of every answer. A configured metric of the same name takes the place, or gives it options."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One checked line of the table."""

    name: str
    use: str
    made: Any
    higher_is_better: bool | None
    sources: Mapping[str, str]
    """Parameter of `score` to the value that it gets."""
    required: frozenset[str]
    """Those parameters that need a value."""
    over_samples: bool
    """Whether it is of all samples of a prompt, and not of one answer."""

    def of_answer(self, answer: Answer) -> Value:
        """Raises whatever `score` raises, and ValueError for what is no score."""
        return self._asked({"text": answer.text, "answer": answer, "reference": answer.reference})

    def of_samples(self, answers: tuple[Answer, ...], marks: Mapping[str, Marks]) -> Value:
        """Of the answers to one prompt; `marks` are what other metrics gave them, by name. Raises as `of_answer`."""
        texts = tuple(answer.text for answer in answers if answer.text is not None)
        reference = next((answer.reference for answer in answers), None)
        return self._asked({**marks, "texts": texts or None, "answers": answers, "reference": reference})

    def marks(self, answers: tuple[Answer, ...], values: tuple[Value, ...]) -> Marks:
        """What a metric over samples reads of this one. Raises whatever `said` raises."""
        said = getattr(self.made, "said", _whole)
        return Marks(values, tuple(None if answer.text is None else said(answer.text) for answer in answers))

    def _asked(self, given: Mapping[str, Any]) -> Value:
        values = {name: given[source] for name, source in self.sources.items() if given[source] is not None}
        return None if self.required - values.keys() else checked(self.made.score(**values))


def _whole(text: str) -> str | None:
    return " ".join(text.casefold().split()) or None


def checked(score: Any) -> Value:
    """What `score` gave, if it is a score. Raises ValueError."""
    if score is None or isinstance(score, bool):
        return score
    if not isinstance(score, int | float):
        raise ValueError(f"it gave {shown(score)}. A score is a number, true, false or None.")
    if not math.isfinite(score):
        raise ValueError(f"it gave {score}. A score is a finite number.")
    return score


def metrics_of(spec: RunSpec) -> dict[str, Metric]:
    """The metrics of a spec, those that are always there first. Raises ConfigError with every fault in them."""
    parts = Parts(spec)
    parts.load()
    found = read_metrics(parts)
    own = [fault for fault in parts.error().faults if fault.path.partition(".")[0] in ("metrics", "plugins")]
    if own:
        raise ConfigError(own)
    return found


def read_metrics(parts: Parts) -> dict[str, Metric]:
    """The table, as far as it is sound; `parts` collects the faults."""
    return _Table(parts).read()


class _Table:
    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        written = {str(name): entry for name, entry in parts.spec.metrics.items()}
        self.entries: dict[str, Any] = {name: {"use": use} for name, use in ALWAYS.items()}
        self.entries |= {name: _completed(name, entry) for name, entry in written.items()}
        self.single: set[str] = set()
        """Names of metrics of single answers: what others may read."""
        self.sound: set[str] = set()

    def read(self) -> dict[str, Metric]:
        drafts = {name: draft for name, entry in self.entries.items() if (draft := self.draft(name, entry))}
        self.sound = set(drafts)
        self.single = {name for name, (_, metric, _) in drafts.items() if not metric.over_samples}
        for ports, metric, renames in drafts.values():
            self.check(("metrics", metric.name), metric, ports, renames)
        return {name: metric for name, (_, metric, _) in drafts.items()}

    def draft(self, name: str, entry: Any) -> tuple[Ports, Metric, Mapping[str, str]] | None:
        path: Path = ("metrics", name)
        if name in GIVEN or not name.isidentifier():
            why = "is given to every metric" if name in GIVEN else "cannot be a parameter's name"
            self.parts.fault(path, f"'{name}' {why}. Choose another name for this metric.")
            return None
        found = self.parts.find(path, registry.metric, entry)
        if found is None:
            return None
        options = {key: value for key, value in entry.items() if key not in ("use", "from")}
        made, ports = self.parts.instance(path, found, options), self.parts.ports(path, found, registry.metric)
        renames = self.renames(path, entry.get("from"))
        if ports is None or renames is None:
            return None
        sources = {parameter: renames.get(parameter, parameter) for parameter in ports.inputs}
        required = frozenset(name for name, port in ports.inputs.items() if port.required)
        over = over_samples(ports, sources)
        return ports, Metric(name, found.name, made, found.higher_is_better, sources, required, over), renames

    def renames(self, path: Path, written: Any) -> Mapping[str, str] | None:
        renames = {} if written is None else written
        if isinstance(renames, Mapping) and all(isinstance(value, str) for value in renames.values()):
            return renames
        self.parts.fault((*path, "from"), f"{shown(written)} does not fit. Write `from: {{parameter: value}}`.")
        return None

    def check(self, path: Path, metric: Metric, ports: Ports, renames: Mapping[str, str]) -> None:
        for name in (one for one in renames if one not in ports.inputs):
            what = f"{metric.use} has no parameter '{name}'.{nearest(name, ports.inputs)}"
            self.parts.fault((*path, "from", name), f"{what} It has: {listed(ports.inputs)}.")
        for name, source in metric.sources.items():
            place = (*path, "from", name) if name in renames else path
            given = GIVEN.get(source, Marks if source in self.single else None)
            if source in self.entries and source not in self.sound:
                continue  # what is wrong with that one is said there
            if given is None:
                self.parts.fault(place, self.unknown(metric, name, source))
            elif not fits(given, ports.inputs[name].type):
                wanted = type_name(ports.inputs[name].type)
                problem = f"'{source}' is {type_name(given)}, and {metric.use} takes {wanted} as '{name}'."
                self.parts.fault(place, f"{problem} Give it another value with `from`.")
        alone = sorted(set(metric.sources.values()) & SINGLE.keys())
        if metric.over_samples and alone:
            problem = f"{metric.use} asks for '{alone[0]}' of one answer, and for what only all samples together have."
            self.parts.fault(path, f"{problem} Ask for the one or the other.")

    def unknown(self, metric: Metric, name: str, source: str) -> str:
        why = f"there is no '{source}' for the '{name}' of {metric.use}.{nearest(source, {*GIVEN, *self.single})}"
        if source in self.entries:
            why = f"'{source}' is no metric of single answers, and {metric.use} takes one as '{name}'."
        others = f"Values: {listed(GIVEN)}; metrics: {listed(self.single)}."
        return f"{why} Name one with `from: {{{name}: …}}`. {others}"


def _completed(name: str, entry: Any) -> Any:
    """An entry that only gives options to one of those that are always there."""
    if isinstance(entry, Mapping) and name in ALWAYS and "use" not in entry:
        return {"use": ALWAYS[name], **entry}
    return entry
