"""Parameters that move within an answer, in vLLM itself: each token is drawn from what our sampler leaves of its logits.

Marked `full`; test_vllm.py says where vLLM is looked for, and runs this file there.
"""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import replace
from typing import Any

import pytest

from tests.engines.streams import said
from vllm_flow.core.errors import EngineError
from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.registry import schedule as registered
from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.shape import Shape
from vllm_flow.core.values import Request, Token
from vllm_flow.testing import prompt
from vllm_flow.testing.values import schedule

QUESTIONS = ("What is the capital of France?", "Name three colours.", "Count from one to five.")
STORY = "Tell me a story."
pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed beside this Python"),
]


def staying(value: float) -> dict[str, Any]:
    """A schedule that moves, to the value that it has."""
    return {"linear": {"from": value, "to": value, "over": 10}}


def ids(tokens: list[Token]) -> list[int | None]:
    return [token.id for token in tokens]


def values(tokens: list[Token]) -> list[dict[str, float]]:
    return [dict(token.moved.values) for token in tokens if token.moved is not None]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"repetition_penalty": 1.3},
        {"presence_penalty": 1.0, "frequency_penalty": 0.5},
        {"stop": ("s, ", "e"), "min_tokens": 9},
        {"stop_token_ids": (28, 30, 260), "min_tokens": 9},
        {"bad_words": ("Paris", "red", "1", "capital of", " blue"), "min_tokens": 15, "logit_bias": {28: 2.0}},
        {"repetition_penalty": {"linear": {"from": 1.0, "to": 1.8, "over": 20}}},
        {"frequency_penalty": {"linear": {"from": 2.0, "to": -0.5, "over": 12}}, "presence_penalty": staying(0.5)},
    ],
)
def test_at_temperature_0_it_says_what_our_own_engine_says(engine: Engine, ours: Engine, given: dict[str, Any]) -> None:
    how = schedule(max_tokens=32, temperature=staying(0.0), **given)
    requests = [Request(prompt(question), how, 0, 0, True) for question in QUESTIONS]
    for there, here in zip(said(engine, *requests), said(ours, *requests), strict=True):
        assert [(token.id, token.text, token.moved) for token in there] == [
            (token.id, token.text, token.moved) for token in here
        ]
        assert [token.logprob for token in there] == pytest.approx([token.logprob for token in here], abs=1e-3)
        assert there[-1].finish is not None
        assert here[-1].finish is not None
        assert (there[-1].finish.reason, there[-1].finish.usage) == (here[-1].finish.reason, here[-1].finish.usage)
        assert len(values(there)) == len(there)


@pytest.mark.parametrize(
    "given",
    [{}, {"top_p": 0.9}, {"min_p": 0.05}, {"top_k": 20}, {"repetition_penalty": 1.2, "presence_penalty": 0.3}],
)
def test_a_schedule_that_stays_draws_what_vllm_draws_with_the_number(engine: Engine, given: dict[str, Any]) -> None:
    """vLLM's noise is that of the seed, so what differs is what it is added to."""
    for temperature in (0.7, 1.3):
        fixed, moving = (
            [Request(prompt(STORY), schedule(max_tokens=16, temperature=one, **given), seed) for seed in range(3)]
            for one in (temperature, staying(temperature))
        )
        there = [said(engine, request)[0] for request in moving]
        assert list(map(ids, there)) == [ids(said(engine, request)[0]) for request in fixed]
        assert {value["temperature"] for tokens in there for value in values(tokens)} == {temperature}
        assert len(set(map(tuple, map(ids, there)))) == 3


def test_each_token_is_drawn_with_its_own_value(engine: Engine) -> None:
    """Greedy up to the sixth token, then so hot that no two answers go on alike."""
    heating = {"piecewise": {"points": [[0, 0.0], [5, 0.0], [6, 2.0]]}}
    requests = [Request(prompt(STORY), schedule(max_tokens=12, temperature=heating), seed) for seed in range(6)]
    (greedy,) = said(engine, Request(prompt(STORY), schedule(max_tokens=12, temperature=0.0)))
    together = said(engine, *requests)
    for tokens in together:
        assert ids(tokens)[:6] == ids(greedy)[:6]
        assert [value["temperature"] for value in values(tokens)] == [0.0] * 6 + [2.0] * (len(tokens) - 6)
    assert len({tuple(ids(tokens)) for tokens in together}) == 6
    assert all(token.moved is None for token in greedy)


@pytest.mark.parametrize("cut", [{"top_k": staying(3)}, {"min_p": staying(0.2)}, {"top_p": staying(0.5)}])
def test_cuts_that_move_leave_the_tokens_that_ours_leave(engine: Engine, ours: Engine, cut: dict[str, Any]) -> None:
    how = schedule(max_tokens=1, temperature=staying(1.0), **cut)
    requests = [Request(prompt(STORY), how, seed) for seed in range(150)]
    first, theirs = ({tuple(ids(tokens)) for tokens in said(one, *requests)} for one in (ours, engine))
    assert theirs == first
    assert len(first) > 1


def test_a_cooling_temperature_draws_as_often_as_it_should(engine: Engine, ours: Engine) -> None:
    """The second token, after a first one that is greedy, against the same of our own engine, which is proven exact."""
    number = 600
    how = schedule(max_tokens=2, temperature={"piecewise": {"points": [[0, 0.0], [1, 0.8]]}}, top_k=4)
    requests = [Request(prompt(STORY), how, seed) for seed in range(number)]
    counts: list[dict[Any, int]] = []
    for one in (engine, ours):
        second = [tuple(ids(tokens)) for tokens in said(one, *requests)]
        counts.append({pair: second.count(pair) for pair in set(second)})
    theirs, own = counts
    assert set(theirs) == set(own)
    assert len(own) > 1
    for pair, count in own.items():
        deviation = (2 * count * (1 - count / number)) ** 0.5  # of the difference of two counts
        assert abs(theirs[pair] - count) < 4 * deviation + 1


def test_a_schedule_hears_what_ours_hears(engine: Engine, ours: Engine, own_registry: None) -> None:
    @registered("following", needs=("entropy", "surprise"))
    def following(now: Now) -> float:
        """Cold where the model is sure."""
        return 0.0

    how = Schedule(Sampling(max_tokens=16), {"temperature": Moving.of(following)})
    requests = [Request(prompt(question), how) for question in QUESTIONS]
    for there, here in zip(said(engine, *requests), said(ours, *requests), strict=True):
        assert ids(there) == ids(here)
        told, known = ([token.moved.signals for token in one if token.moved] for one in (there, here))
        assert list(map(set, told)) == [{"entropy"}, *[{"entropy", "surprise"}] * (len(there) - 1)]
        for one, other in zip(told, known, strict=True):
            assert one == pytest.approx(other, abs=1e-3)


def test_long_prompts_together_hear_of_each_token_once_and_its_surprise(engine: Engine, own_registry: None) -> None:
    """Three of them are more than vLLM reads in one step."""
    heard: list[list[tuple[int, float | None, int]]] = [[], [], []]

    def listener(place: int) -> Moving:
        @registered(f"listening{place}", needs=("surprise",))
        def listening(now: Now) -> float:
            """Hears everything."""
            heard[place].append((now.token, now.surprise, len(now.output)))
            return 1.0

        return Moving.of(listening)

    hows = [Schedule(Sampling(max_tokens=5), {"temperature": listener(place)}) for place in range(3)]
    longs = [f"{place}. " + "The sea was calm that morning. " * 230 + STORY for place in range(3)]
    requests = [Request(prompt(longs[place]), hows[place], place, 0, True) for place in range(3)]
    for place, tokens in enumerate(said(engine, *requests)):
        told = heard[place][1:]  # the first is asked for what ends the answer
        assert [(token, output) for token, _, output in told] == [(index, index) for index in range(len(tokens))]
        surprises = [surprise for _, surprise, _ in told]
        assert surprises[0] is None
        assert surprises[1:] == pytest.approx([-(token.logprob or 0.0) for token in tokens[:-1]], abs=1e-3)
        assert [token.moved.signals.get("surprise") for token in tokens if token.moved] == surprises
    assert max(map(len, heard)) > 3


def test_a_schedule_that_fails_is_told_and_others_go_on(engine: Engine, own_registry: None) -> None:
    @registered("failing", per_token=True)
    def failing(now: Now) -> float:
        """Fails at the third token."""
        return 1.0 / (2 - now.token)

    broken = Request(prompt(STORY), Schedule(Sampling(max_tokens=9), {"temperature": Moving.of(failing)}), 1)
    sound = Request(prompt(QUESTIONS[0]), schedule(max_tokens=20, temperature=staying(0.0)))

    async def both() -> tuple[list[Token], str]:
        async def fails() -> str:
            stream = engine.generate(broken)
            for _ in range(2):
                assert (await anext(stream)).finish is None
            with pytest.raises(EngineError) as caught:
                await anext(stream)
            return str(caught.value)

        async def goes_on() -> list[Token]:
            return [token async for token in engine.generate(sound)]

        return await asyncio.gather(goes_on(), fails())

    tokens, why = asyncio.run(both())
    assert "Paris" in "".join(token.text for token in tokens)
    assert (
        why
        == "sampling.temperature: the schedule 'failing' fails at token 2: ZeroDivisionError: float division by zero"
    )
    nothing = schedule(temperature=staying(1.0), logit_bias={10**6: 1.0})
    with pytest.raises(EngineError) as caught:
        said(engine, Request(prompt("hi"), nothing))
    words = "sampling.logit_bias: 1000000 is no token of this model. Give ids from 0 to 49151."
    assert str(caught.value) == words


def test_the_other_model_runner_refuses_what_moves_or_has_a_shape(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_loaded", replace(engine._loaded, steers=False))
    for request, words in (
        (
            Request(prompt("hi"), schedule(temperature=staying(1.0))),
            "sampling: it moves within the answer, and this vLLM runs its second model runner, which takes one value for "
            "a whole answer here. Set VLLM_USE_V2_MODEL_RUNNER=0 in the environment, or let it move `by: turn`.",
        ),
        (
            Request(prompt("hi"), schedule(), shape=Shape(choices=("yes", "no"))),
            "the answer's shape: this vLLM runs its second model runner, which lets nobody touch the logits. Set "
            "VLLM_USE_V2_MODEL_RUNNER=0 in the environment, or choose another engine.",
        ),
    ):
        with pytest.raises(EngineError) as caught:
            said(engine, request)
        assert str(caught.value) == words
    assert said(engine, Request(prompt("hi"), schedule(temperature=0.0, max_tokens=2)))
