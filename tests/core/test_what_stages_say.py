"""What a stage's own code may get wrong, each told in one line that names the stage and not its readers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from vllm_flow.core import registry
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.messages import Text, user
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.registry import stage
from vllm_flow.core.results import Result
from vllm_flow.core.runner import Runner
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Completion, Turn


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.stage, "_entries", dict(registry.stage._entries))


def spec(use: str, **more: Any) -> RunSpec:
    graph = {"made": {"use": use}, "read": {"use": "odd/reader", "from": {"text": "made"}}}
    return RunSpec("odd", graph, "read", **more)


def define(run: Any, check: Any = None) -> None:
    """A stage `odd/stage` with these methods, and one that reads what it makes."""

    class Odd:
        """Odd."""

    Odd.run = run  # type: ignore[attr-defined]
    if check is not None:
        Odd.check = check  # type: ignore[attr-defined]
    stage("odd/stage")(dataclass(frozen=True)(Odd))

    class Reader:
        """Reads."""

        def run(self, text: Text) -> Text:
            return Text(text.text)

    stage("odd/reader")(dataclass(frozen=True)(Reader))


def failure(given: RunSpec) -> str:
    async def go() -> Result:
        async with Runner(given) as runner:
            return await runner.answer(Turn("a", user("hi")))

    result = asyncio.run(go())
    assert result.failure
    return result.failure.message


@pytest.mark.parametrize(("given", "name"), [("hi", "str"), (None, "None"), (("a",), "tuple")])
def test_a_value_of_another_type_than_declared_is_the_fault_of_the_stage_that_made_it(given: Any, name: str) -> None:
    def run(self: Any, turn: Turn) -> Text:
        return given

    define(run)
    assert failure(spec("odd/stage")) == (
        f"graph.made (odd/stage): TypeError: run gave {name} and declares Text. Make the two agree"
    )


def test_an_item_of_another_type_in_a_tuple_is_found() -> None:
    def run(self: Any, turn: Turn) -> tuple[Text, ...]:
        return (Text("a"), "b")  # type: ignore[return-value]

    define(run)
    graph = {"made": {"use": "odd/stage"}, "read": {"use": "odd/reader", "each": "text", "from": {"text": "made"}}}
    assert failure(RunSpec("odd", graph, "read")) == (
        "graph.made (odd/stage): TypeError: run gave tuple and declares tuple[Text, ...]. Make the two agree"
    )


def faults(given: RunSpec) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(given)
    return str(caught.value).splitlines()


def test_a_forgotten_self_is_told_before_anything_runs() -> None:
    def run(turn: Turn) -> Text:
        return Text(turn.text)

    define(run)
    assert faults(spec("odd/stage")) == [
        "graph.made: odd/stage: the first parameter of run is 'turn'. Write self before it."
    ]


def _text(self: Any, sampling: Sampling) -> str:
    return "bad. Do good."


def _no_pair(self: Any, sampling: Sampling) -> Iterator[str]:
    yield "bad. Do good."


def _misspelt(self: Any, samplin: Sampling) -> Iterator[tuple[tuple[str, ...], str]]:
    yield (), "never."


PAIRS = 'Yield pairs: `yield (), "what is wrong. What would be right."`. Mend it.'


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (_text, f"TypeError: it gave 'bad. Do good.'. {PAIRS}"),
        (_no_pair, f"TypeError: it gave 'bad. Do good.'. {PAIRS}"),
        (
            _misspelt,
            "TypeError: nothing here is called 'samplin'. Did you mean 'sampling'? There are: sampling, turn. Mend it.",
        ),
    ],
)
def test_a_check_that_is_written_wrong_is_one_fault(check: Any, words: str) -> None:
    def run(self: Any, turn: Turn) -> Text:
        return Text(turn.text)

    define(run, check)
    assert faults(spec("odd/stage")) == [f"graph.made: odd/stage: its 'check' fails: {words}"]


def test_a_value_that_fits_by_inheritance_passes() -> None:
    class Louder(Text):
        pass

    def run(self: Any, turn: Turn) -> Text:
        return Louder(turn.text)

    define(run)

    async def go() -> Any:
        async with Runner(spec("odd/stage")) as runner:
            return (await runner.answer(Turn("a", user("hi")))).value

    assert asyncio.run(go()) == Text("hi")
    assert not isinstance(asyncio.run(go()), Completion)
