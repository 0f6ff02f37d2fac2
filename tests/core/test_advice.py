"""Advice: what runs, but is hardly meant so. Each lint warns where it should, in its words, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from tests import fakes  # noqa: F401  registers fake/either
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.messages import Text
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Clock, EngineOptions
from vllm_flow.core.segments import Segment, facts_of
from vllm_flow.core.spec import Path, RunSpec
from vllm_flow.core.values import Context, Prompt, Turn

COLD = (
    "changes nothing, since temperature 0 always takes the most probable token. Set it to {}, or raise the temperature."
)
SAME = "answers at temperature 0 are all the same. Ask for one, or raise the temperature."
REPEATS = "its 'set' repeats what 'sampling' says. Leave it out, or set another value."
CLOCK = (
    "made with the clock: what changes each turn and stands before the history defeats the prefix cache. "
    "Put it behind the history, and let {} say so with `advise`."
)
FIRST = (
    "it changes from turn to turn and stands before the history, which defeats the prefix cache. Write `place: last`."
)
RESOURCES = {"engine": {"use": "engine/echo"}, "store": {"use": "store/memory"}, "clock": {"use": "clock/system"}}
GRAPH = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
}
SEVERAL = {"candidates": {"use": "infer/sample"}, "reply": {"use": "select/vote"}}
INNER = {
    "prompt": None, "schedule": None, "context": None,
    "tale": {"use": "pipeline/inner"}, "again": {"use": "pipeline/inner"},
    "reply": {"use": "fake/either", "from": {"first": "tale", "second": "again"}},
}  # fmt: skip


def two(**cold: Any) -> dict[str, Any]:
    """The graph with a second inference, which has a schedule of its own."""
    return {
        "cold": {"use": "schedule/sampling", "set": cold},
        "first": {"use": "infer/generate", "from": {"schedule": "cold"}},
        "second": {"use": "infer/generate"},
        "reply": {"use": "fake/either"},
    }


@stage("advised/date")
@dataclass(frozen=True)
class Date:
    """What day it is."""

    def run(self, clock: Clock) -> Text:
        return Text(clock.now().isoformat())


@stage("advised/told")
@dataclass(frozen=True)
class Told:
    """A prompt with a text somewhere in it."""

    def run(self, turn: Turn, context: Context, date: Text) -> Prompt:
        return Prompt((turn.message,))


@stage("advised/today")
@dataclass(frozen=True)
class Today:
    """The date, as a segment."""

    place: Literal["first", "last"] = "last"

    def run(self, clock: Clock) -> Segment:
        return facts_of({"date": clock.now().date().isoformat()})


@stage("advised/news")
@dataclass(frozen=True)
class News:
    """What is new, wherever it is from."""

    place: Literal["first", "last"] = "first"
    changes: bool = True

    def run(self, turn: Turn) -> Segment:
        return facts_of({"news": turn.text})


@stage("advised/strike")
@dataclass(frozen=True)
class Strike:
    """An effect of the clock."""

    def run(self, clock: Clock) -> None:
        clock.now()


@stage("advised/dated")
@dataclass(frozen=True)
class Dated:
    """A prompt with the time in it, one for each piece."""

    def run(self, turn: Turn, context: Context, clock: Clock) -> tuple[Prompt, ...]:
        return (Prompt((turn.message,)),)


@stage("advised/aware")
@dataclass(frozen=True)
class Aware:
    """A prompt with the time where it is asked to be, and what that means."""

    at: str = "end"

    def check(self) -> Iterator[tuple[Path, str]]:
        if self.at == "nowhere":
            raise KeyError("nowhere")
        yield from ()

    def advise(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        if self.at == "start":
            yield (), f"at {self.at} the time costs {type(engine).__name__} its prefix cache. Write at: end."
        if self.at == "middle":
            raise KeyError("middle")

    def run(self, turn: Turn, context: Context, clock: Clock) -> Prompt:
        return Prompt((turn.message,))


def spec(sampling: Mapping[str, Any], nodes: Mapping[str, Any], **about: Any) -> RunSpec:
    inner = {"graph": {**GRAPH, "prompt": {"use": "advised/told"}, "date": {"use": "advised/date"}}, "output": "reply"}
    graph = {name: node for name, node in {**GRAPH, **nodes}.items() if node}
    return RunSpec("advised", graph, "reply", RESOURCES, sampling, pipelines={"inner": inner}, **about)


def told(spec: RunSpec) -> list[str]:
    return [str(fault) for fault in Pipeline.build(spec).advice]


GREEDY: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "neutral values": ({"temperature": 0, "top_p": 1, "top_k": None, "min_p": 0}, {}, []),
    "every cut": (
        {"temperature": 0, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1}, {},
        [f"sampling.top_p: top_p 0.9 {COLD.format(1.0)}", f"sampling.top_k: top_k 5 {COLD.format('null')}", f"sampling.min_p: min_p 0.1 {COLD.format(0.0)}"],
    ),
    "a cut of the schedule's own": (
        {"temperature": 0}, {"schedule": {"use": "schedule/sampling", "set": {"top_p": 0.5}}},
        [f"graph.schedule.set.top_p: top_p 0.5 {COLD.format(1.0)}"],
    ),
    "the only schedule is cold": (
        {"top_p": 0.9}, {"schedule": {"use": "schedule/sampling", "set": {"temperature": 0}}},
        [f"sampling.top_p: top_p 0.9 {COLD.format(1.0)}"],
    ),
    "the other cuts": (
        {"temperature": 0, "typical_p": 0.9, "top_n_sigma": 1.0, "xtc_probability": 0.5, "epsilon_cutoff": 0.1}, {},
        [f"sampling.epsilon_cutoff: epsilon_cutoff 0.1 {COLD.format(0.0)}", f"sampling.typical_p: typical_p 0.9 {COLD.format(1.0)}", f"sampling.top_n_sigma: top_n_sigma 1.0 {COLD.format('null')}", f"sampling.xtc_probability: xtc_probability 0.5 {COLD.format(0.0)}"],
    ),
    "another schedule is not cold": ({"top_p": 0.9}, two(temperature=0), []),
    "another schedule is not cold, but has its own cut": (
        {"top_p": 0.9}, two(temperature=0, top_p=0.5),
        [f"graph.cold.set.top_p: top_p 0.5 {COLD.format(1.0)}"],
    ),
    "several answers": ({"temperature": 0, "n": 3}, SEVERAL, [f"sampling.n: 3 {SAME}"]),
    "several answers by the schedule": (
        {"temperature": 0}, {**SEVERAL, "schedule": {"use": "schedule/sampling", "set": {"n": 3}}},
        [f"graph.schedule.set.n: 3 {SAME}"],
    ),
    "several answers, cold by the schedule": (
        {"n": 3}, {**SEVERAL, "schedule": {"use": "schedule/sampling", "set": {"temperature": 0}}},
        [f"graph.schedule.set.temperature: 3 {SAME}"],
    ),
    "several answers, warm": ({"n": 3}, SEVERAL, []),
    "a set that repeats": (
        {"top_p": 0.9}, {"schedule": {"use": "schedule/sampling", "set": {"top_p": 0.9, "temperature": 1.0}}},
        [f"graph.schedule: {REPEATS}"],
    ),
    "a set that repeats a part": ({"top_p": 0.9}, two(top_p=0.9, temperature=0.5), []),
}  # fmt: skip
CLOCKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a clock that no prompt hears of": ({"date": {"use": "advised/date"}, "reply": {"use": "infer/generate", "when": "date"}, "strike": {"use": "advised/strike"}}, []),
    "a prompt that reads it": (
        {"prompt": {"use": "advised/dated"}, "reply": {"use": "infer/generate", "each": "prompt"}},
        [f"graph.prompt: {CLOCK.format('advised/dated')}"],
    ),
    "a prompt that hears of it": (
        {"date": {"use": "advised/date"}, "prompt": {"use": "advised/told"}},
        [f"graph.prompt: {CLOCK.format('advised/told')}"],
    ),
    "a prompt of a pipeline inside": (INNER, [f"pipelines.inner.graph.prompt: {CLOCK.format('advised/told')}"]),
    "a segment that stands last": ({"facts": {"use": "advised/today"}}, []),
    "a segment that stands first": ({"facts": {"use": "advised/today", "place": "first"}}, [f"graph.facts: {FIRST}"]),
    "a segment that says it changes": ({"documents": {"use": "advised/news"}}, [f"graph.documents: {FIRST}"]),
    "and one that does not": ({"documents": {"use": "advised/news", "changes": False}}, []),
    "a stage that speaks for itself": ({"prompt": {"use": "advised/aware"}}, []),
    "and has something to say": (
        {"prompt": {"use": "advised/aware", "at": "start"}},
        ["graph.prompt: at start the time costs Echo its prefix cache. Write at: end."],
    ),
    "and fails": (
        {"prompt": {"use": "advised/aware", "at": "middle"}},
        ["graph.prompt: advised/aware: its 'advise' fails: KeyError: 'middle'. Mend it."],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sampling", "nodes", "lines"), GREEDY.values(), ids=GREEDY)
def test_what_means_nothing_at_temperature_0_is_told_where_it_is_written(
    sampling: dict[str, Any], nodes: dict[str, Any], lines: list[str]
) -> None:
    assert told(spec(sampling, nodes)) == lines


@pytest.mark.parametrize(("nodes", "lines"), CLOCKS.values(), ids=CLOCKS)
def test_a_prompt_with_the_time_in_it_is_told(nodes: dict[str, Any], lines: list[str]) -> None:
    assert told(spec({}, nodes)) == lines


def test_a_check_that_fails_is_a_fault_and_no_traceback() -> None:
    with pytest.raises(ConfigError) as caught:
        told(spec({}, {"prompt": {"use": "advised/aware", "at": "nowhere"}}))
    assert str(caught.value) == "graph.prompt: advised/aware: its 'check' fails: KeyError: 'nowhere'. Mend it."


def test_what_was_chosen_and_is_not_read_is_told_once_at_its_outermost_place() -> None:
    chosen = {
        ("resources", "clock", "zone"): "a.yaml:1", ("resources", "clock"): "command line",
        ("resources", "clock", "z"): "a.yaml:2", ("resources",): "a.yaml:1", ("resources", "engine"): "command line",
        ("model", "path"): "command line", ("sampling", "top_p"): "command line", ("seed",): "command line",
    }  # fmt: skip
    assert told(spec({}, {}, chosen=chosen)) == [
        "resources.clock (command line): nothing in the graph reads 'clock', so it changes nothing. Leave it out, or add a stage that reads it.",
        "model.path (command line): no resource reads 'model', so it changes nothing. Leave it out, or choose an engine that runs models.",
    ]
    assert told(RunSpec("text", {"reply": {"use": "fake/text"}}, "reply", chosen=chosen, origins={})) == [
        f"resources.{name} (command line): nothing in the graph reads '{name}', so it changes nothing. Leave it out, or add a stage that reads it."
        for name in ("clock", "engine")
    ] + [
        "model.path (command line): no resource reads 'model', so it changes nothing. Leave it out, or choose an engine that runs models.",
        "sampling.top_p (command line): nothing in the graph reads 'sampling', so it changes nothing. Leave it out, or add a stage that reads it.",
    ]


def test_an_option_that_is_new_in_every_run_is_told() -> None:
    changing = {("graph", "prompt", "system"): "${now:%H}"}
    assert told(spec({}, {}, changing=changing, origins={("graph", "prompt"): "pipelines/a.yaml:4"})) == [
        "graph.prompt.system (pipelines/a.yaml:4): ${now:%H} is new in every run: no run repeats another, and in a prompt "
        "it defeats the prefix cache. Write a fixed value, and tell what changes in the turn."
    ]
