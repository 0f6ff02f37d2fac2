"""The table of metrics: wired by names, checked before anything runs, every fault with its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from vllm_flow.core import plugins, registry
from vllm_flow.core.answers import Answer, Marks
from vllm_flow.core.describe import part_of
from vllm_flow.core.errors import ConfigError, FlowError
from vllm_flow.core.metrics import ALWAYS, metrics_of
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.registry import Registry, metric
from vllm_flow.core.spec import RunSpec


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.load_built_in()
    monkeypatch.setattr(registry.metric, "_entries", dict(registry.metric._entries))


def spec(**metrics: Any) -> RunSpec:
    return RunSpec("p", {"reply": {"use": "infer/generate"}}, "reply", metrics=metrics)


def faults(**metrics: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        metrics_of(spec(**metrics))
    return str(caught.value).splitlines()


SINGLE = "characters, correct, repetition, seconds, tokens, truncated, ttft_s, words"
VALUES = "Values: answer, answers, reference, text, texts"


def test_what_is_always_measured_comes_first_and_may_be_given_options_or_be_replaced() -> None:
    made = metrics_of(spec(correct={"use": "answer/exact"}, repetition={"n": 2}, words={"use": "length/characters"}))
    assert {name: one.use for name, one in made.items()} == {
        **ALWAYS,
        "words": "length/characters",
        "correct": "answer/exact",
    }
    assert (made["repetition"].made.n, made["correct"].higher_is_better, made["tokens"].higher_is_better) == (
        2,
        True,
        None,
    )


def test_a_metric_over_samples_reads_another_by_its_name_or_by_from() -> None:
    made = metrics_of(
        spec(right={"use": "answer/exact"}, best={"use": "samples/pass_at", "k": 2, "from": {"correct": "right"}})
    )
    best = made["best"]
    assert (best.over_samples, dict(best.sources), made["right"].over_samples) == (True, {"correct": "right"}, False)
    answers = tuple(Answer("c", 1, sample, text=text, reference="a") for sample, text in enumerate(["a", "b", "b"]))
    marks = made["right"].marks(answers, tuple(made["right"].of_answer(one) for one in answers))
    assert marks == Marks((True, False, False), ("a", "b", "b"))
    assert best.of_samples(answers, {"right": marks}) == pytest.approx(2 / 3)


def test_a_pipeline_is_refused_for_the_faults_of_its_metrics_too() -> None:
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(spec(correct={"use": "answer/exat"}))
    assert [str(one.path) for one in caught.value.faults if "metrics" in one.path] == ["metrics.correct.use"]


@pytest.mark.parametrize(
    ("metrics", "problems"),
    [
        ({"correct": "answer/exact"}, ["metrics.correct: 'answer/exact' is no metric. Write a mapping with `use: …`."]),
        ({"text": {"use": "answer/exact"}}, ["metrics.text: 'text' is given to every metric. Choose another name for this metric."]),
        ({"a b": {"use": "answer/exact"}}, ["metrics.a b: 'a b' cannot be a parameter's name. Choose another name for this metric."]),
        (
            {"correct": {"use": "answer/number", "tolerence": 1}, "best": {"use": "samples/pass_at", "k": 0}},
            [
                "metrics.correct.tolerence: there is no option 'tolerence'. Did you mean 'tolerance'? Options: after, relative, tolerance.",
                "metrics.best.k: 0 does not fit. It takes an integer of 1 or more.",
            ],
        ),
        (
            {"correct": {"use": "answer/exact"}, "best": {"use": "samples/mean", "from": {"correct": "corect"}}},
            [
                "metrics.best.from.correct: there is no 'corect' for the 'correct' of samples/mean. Did you mean 'correct'? "
                f"Name one with `from: {{correct: …}}`. {VALUES}; metrics: {SINGLE}."
            ],
        ),
        (
            {"correct": {"use": "answer/exact"}, "mean": {"use": "samples/mean", "from": {"corect": "correct"}}},
            ["metrics.mean.from.corect: samples/mean has no parameter 'corect'. Did you mean 'correct'? It has: correct."],
        ),
        (
            {"correct": {"use": "answer/exact"}, "a": {"use": "samples/mean"}, "b": {"use": "samples/mean", "from": {"correct": "a"}}},
            [
                "metrics.b.from.correct: 'a' is no metric of single answers, and samples/mean takes one as 'correct'. "
                f"Name one with `from: {{correct: …}}`. {VALUES}; metrics: {SINGLE}."
            ],
        ),
        (
            {"correct": {"use": "answer/exact", "from": {"text": "texts"}}},
            ["metrics.correct.from.text: 'texts' is tuple[str, ...], and answer/exact takes str as 'text'. Give it another value with `from`."],
        ),
        ({"correct": {"use": "answer/exact", "from": 3}}, ["metrics.correct.from: 3 does not fit. Write `from: {parameter: value}`."]),
        ({"correct": {"use": "answer/exat"}, "best": {"use": "samples/mean"}}, ["metrics.correct.use: there is no metric 'answer/exat'."]),
        ({"correct": {"n": 1}}, ["metrics.correct.use: 'use' is missing. It names the metric."]),
    ],
)  # fmt: skip
def test_each_fault_is_said_once_where_it_is(metrics: dict[str, Any], problems: list[str]) -> None:
    said = faults(**metrics)
    assert len(said) == len(problems)
    assert [line[: len(problem)] for line, problem in zip(said, problems, strict=True)] == problems


def test_a_function_is_a_metric_without_options() -> None:
    @metric("own/lines", higher_is_better=False)
    def lines(text: str) -> float:
        """How many lines."""
        return text.count("\n") + 1

    made = metrics_of(spec(lines={"use": "own/lines"}))["lines"]
    assert (lines("a\nb"), made.of_answer(Answer("c", text="a\nb")), made.higher_is_better) == (2, 2, False)
    entry = registry.metric.of_function(lines)
    assert entry is not None
    part = part_of(registry.metric, entry)
    assert (part.summary, dict(part.reads), part.makes, part.options) == (
        "How many lines.",
        {"text": "str"},
        "float",
        (),
    )
    assert entry.place == f"{__file__}: {lines.__qualname__}"
    assert faults(lines={"use": "own/lines", "n": 1}) == ["metrics.lines.n: there is no option 'n'. Options: none."]


def test_a_function_is_no_stage_and_needs_its_docstring() -> None:
    def silent(text: str) -> float:
        return 0.0

    with pytest.raises(FlowError) as caught:
        metric("own/silent")(silent)
    assert str(caught.value).endswith("it has no docstring. Its first line is what `vllm-flow ls` shows.")
    with pytest.raises(FlowError) as caught:
        Registry("stage", "run")("own/silent")(silent)
    assert str(caught.value).endswith("not a frozen dataclass. Put @dataclass(frozen=True) below the registration.")


def test_what_cannot_be_asked_says_why() -> None:
    @metric("own/late")
    async def late(text: str) -> float:
        """Waits."""
        return 0.0

    @metric("own/text")
    def text(text: str) -> str:
        """Gives a text."""
        return text

    @metric("own/bare")
    def bare(text) -> float:  # type: ignore[no-untyped-def]
        """Says no type."""
        return 0.0

    @metric("own/both")
    def both(text: str, answers: tuple[Answer, ...]) -> float:
        """Asks for one and for all."""
        return 0.0

    assert faults(**{name: {"use": f"own/{name}"} for name in ("late", "bare", "both")}, said={"use": "own/text"}) == [
        "metrics.late: own/late: its score is async. Write a plain one.",
        "metrics.bare: own/bare: 'text' has no type. Annotate every parameter of score and its return.",
        "metrics.both: own/both asks for 'text' of one answer, and for what only all samples together have. Ask for the one or the other.",
        "metrics.said: own/text: the return value has the type str. A score is float | bool | None.",
    ]


def test_what_is_not_there_is_not_given_and_what_needs_it_does_not_apply() -> None:
    @metric("own/optional")
    @dataclass(frozen=True)
    class Optional:
        """Does without a reference."""

        def score(self, text: str, reference: Any = "none") -> float | None:
            return len(text) if reference == "none" else None

    made = metrics_of(spec(correct={"use": "answer/exact"}, own={"use": "own/optional"}))
    asked = [(name, made[name].of_answer(Answer("c", text=text, reference=given))) for name in ("correct", "own") for text, given in (("a", None), (None, "a"))]  # fmt: skip
    assert asked == [("correct", None), ("correct", None), ("own", 1), ("own", None)]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("x", "it gave 'x'. A score is a number, true, false or None."),
        (float("nan"), "it gave nan. A score is a finite number."),
        (float("inf"), "it gave inf. A score is a finite number."),
    ],
)
def test_what_is_no_score_is_refused(given: Any, problem: str) -> None:
    @metric("own/odd")
    def odd(text: str) -> float:
        """Gives what it was made to give."""
        return given  # type: ignore[no-any-return]

    with pytest.raises(ValueError, match="it gave") as caught:
        metrics_of(spec(odd={"use": "own/odd"}))["odd"].of_answer(Answer("c", text=""))
    assert str(caught.value) == problem
