"""What an engine cannot do is refused before anything runs; what it does in a way of its own is warned of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import pytest

from vllm_flow.core.codec import completion_from_json, to_json
from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import user
from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.plugins import load_built_in
from vllm_flow.core.registry import schedule as registered
from vllm_flow.core.resources import Capabilities
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.shown import Said
from vllm_flow.core.values import Completion, Prompt, Request, Token, Usage
from vllm_flow.engines.echo import Echo, EchoEngine
from vllm_flow.engines.openai.dialects import DIALECTS
from vllm_flow.stages.infer import Generate, Sample, complete
from vllm_flow.testing import prompt
from vllm_flow.testing.values import schedule

ALL = Echo().capabilities().sampling
RANGES = {"temperature": (0, 2), "presence_penalty": (-2, 2), "stop": (0, 4)}
NOISE = (
    "the answer may differ in another run, and the points of a sweep share no noise. Set sampling.temperature=0, or "
    "choose another engine, where that matters."
)


@dataclass(frozen=True)
class Can:
    """Options of an engine that is able to do this and is never opened."""

    what: Capabilities

    def capabilities(self) -> Capabilities:
        return self.what

    def open(self) -> EchoEngine:
        raise NotImplementedError


def can(**what: Any) -> Can:
    return Can(Capabilities(**{"sampling": ALL, **what}))


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ({"temperature": 2.5}, "temperature", "2.5 is more than the engine takes. Choose from 0 to 2, or another engine."),
        ({"presence_penalty": -3.0}, "presence_penalty", "-3.0 is less than the engine takes. Choose from -2 to 2, or another engine."),
        ({"stop": tuple("abcde")}, "stop", "5 are more than the engine takes. Choose at most 4, or another engine."),
    ],
)  # fmt: skip
def test_a_value_outside_of_what_the_engine_takes_is_refused(given: dict[str, Any], name: str, words: str) -> None:
    engine, asked, planned = can(ranges=RANGES), schedule(**given), SamplingPlan(Sampling(**given))
    assert list(Generate().check(planned, asked, engine)) == [(("sampling", name), words)]
    assert list(Generate().check(SamplingPlan(), asked, engine)) == [((), f"the schedule's '{name}': {words}")]


def test_values_at_the_border_are_taken() -> None:
    sampling = Sampling(temperature=2, presence_penalty=-2, stop=tuple("abcd"), frequency_penalty=9)
    assert list(Generate().check(SamplingPlan(sampling), Schedule(sampling), can(ranges=RANGES))) == []


def test_what_moves_within_an_answer_is_refused_by_an_engine_that_takes_one_value_for_it() -> None:
    falling = {"temperature": {"linear": {"from": 1.0, "to": 0.2, "over": 256}}}
    load_built_in()
    plan = SamplingPlan().changed(falling)
    problem = (
        "the engine takes one value for a whole answer, and 'linear' moves within it. Let it move `by: turn`, or choose "
        "another engine."
    )
    assert list(Generate().check(plan, plan.schedule(), can())) == [(("sampling", "temperature"), problem)]
    assert list(Generate().check(plan, plan.schedule(), can(moves=True))) == []
    own = [((), f"the schedule's 'temperature': {problem}")]
    assert list(Generate().check(SamplingPlan(), plan.schedule(), can())) == own
    falling["temperature"]["linear"]["by"] = "turn"
    by_turn = SamplingPlan().changed(falling)
    assert list(Generate().check(by_turn, by_turn.schedule(), can())) == []
    unknown = "the engine cannot honour it. Remove it, or choose another engine; this one takes: top_p."
    found = list(Generate().check(plan, plan.schedule(), can(sampling=frozenset({"top_p"}), moves=True)))
    assert found == [(("sampling", "temperature"), unknown)]


def test_a_schedule_that_follows_what_the_engine_does_not_tell_is_refused() -> None:
    @dataclass(frozen=True)
    class Follower:
        """Follows the entropy."""

        per_token = True
        needs = ("entropy",)

        def at(self, now: Now) -> float:
            return now.entropy or 0.0

    plan = SamplingPlan(moving={"temperature": Moving("follower", Follower())})
    problem = "'follower' follows entropy, which the engine does not tell. Choose another."
    assert list(Generate().check(plan, plan.schedule(), can(moves=True))) == [(("sampling", "temperature"), problem)]
    assert list(Generate().check(plan, plan.schedule(), can(moves=True, signals=frozenset({"entropy"})))) == []


def advice(engine: Can, **sampling: Any) -> list[str]:
    told = [list(one.advise(schedule(**sampling), engine)) for one in (Generate(), Sample())]
    assert told[0] == told[1]
    assert all(path == () for path, _ in told[0])
    return [text for _, text in told[0]]


def test_noise_of_its_own_is_warned_of_where_anything_is_drawn() -> None:
    assert advice(can()) == []
    assert advice(can(seeded="best effort")) == [f"the engine draws with noise of its own: {NOISE}"]
    assert advice(can(seeded="no")) == [f"the engine takes no seed: {NOISE}"]
    assert advice(can(seeded="no"), temperature=0.0) == []


def test_another_order_is_warned_of_where_two_parameters_depend_on_it() -> None:
    unknown, other = can(sampler_order=()), can(sampler_order=("top_k", "temperature"))
    assert advice(unknown, temperature=0.5, top_p=0.9) == [
        "the engine applies temperature, top_p in its own order: an order that is not documented. Set one of them alone "
        "to be sure."
    ]
    assert advice(other, temperature=0.5, top_k=3) == [
        "the engine applies temperature, top_k in its own order: top_k->temperature. Set one of them alone to be sure."
    ]
    assert advice(unknown, top_p=0.9) == advice(unknown, temperature=0.0, top_p=0.9) == advice(unknown) == []


def test_a_penalty_that_does_not_see_the_prompt_is_warned_of() -> None:
    assert advice(can(penalty_window="output"), repetition_penalty=1.1) == [
        "the engine's repetition_penalty looks at the output alone. Set it to 1, or choose another engine."
    ]
    assert advice(can(penalty_window=64), repetition_penalty=1.1) == [
        "the engine's repetition_penalty looks at the newest 64 tokens alone. Set it to 1, or choose another engine."
    ]
    assert advice(can(penalty_window=64)) == []


class Texts(EchoEngine):
    """Told texts alone, and the finish after them."""

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        async for token in EchoEngine().generate(request):
            yield Token(None, token.text, token.logprob)
            if token.finish:
                yield Token(None, "", None, token.finish)

    def count(self, prompt: Prompt) -> int:
        raise EngineError("no tokenizer here. Do not count.")


def test_an_engine_that_is_told_texts_gives_an_answer_without_ids() -> None:
    answer = asyncio.run(complete(Texts(), Request(prompt("to be"), schedule(), logprobs=True)))
    assert answer == Completion("to be", (), "stop", Usage(2, 2), (0.0, 0.0))


def test_what_was_said_before_an_interruption_is_kept_with_counts_unknown() -> None:
    said = Said(Prompt((user("a"),)), Texts(), [Token(None, "to"), Token(None, " be")])
    assert said.partial() == Completion("to be", (), "interrupted", Usage(None, None))
    assert Said(Prompt((user("a"),)), EchoEngine(), [Token(5, "to")]).partial() == Completion(
        "to", (5,), "interrupted", Usage(1, 1)
    )


def test_unknown_counts_are_recorded_as_null() -> None:
    answer = Completion("to be", (), "stop", Usage(None, None))
    written = to_json(answer)
    assert written["usage"] == {"prompt_tokens": None, "completion_tokens": None}
    assert completion_from_json(written) == answer


def test_what_comes_into_force_in_a_later_turn_is_refused_before_the_first() -> None:
    load_built_in()
    rising = {"linear": {"from": 0, "to": 3, "over": 4, "by": "turn"}}
    plan = SamplingPlan().changed({"temperature": rising, "end_bias": rising, "max_tokens": {"constant": 9}})
    engine = can(sampling=frozenset({"temperature", "top_p"}), ranges=RANGES)
    cannot = "the engine cannot honour it. Remove it, or choose another engine; this one takes: temperature, top_p."
    beyond = "'linear' comes to 3, which is more than the engine takes. Choose from 0 to 2, or another engine."
    assert list(Generate().check(plan, plan.foreseen(), engine)) == [
        (("sampling", "end_bias"), cannot),
        (("sampling", "temperature"), beyond),
    ]
    own = SamplingPlan().changed({"temperature": rising})
    assert list(Generate().check(SamplingPlan(), own.foreseen(), engine)) == [
        ((), f"the schedule's 'temperature': {beyond}")
    ]


def test_what_stays_neutral_turn_by_turn_needs_no_engine_that_honours_it() -> None:
    load_built_in()
    plan = SamplingPlan().changed({"min_p": {"constant": 0}})
    assert list(Generate().check(plan, plan.foreseen(), can(sampling=frozenset({"temperature"})))) == []


def test_several_answers_in_a_later_turn_are_refused_where_one_is_made() -> None:
    load_built_in()
    plan = SamplingPlan().changed({"n": {"linear": {"from": 1, "to": 3, "over": 4, "by": "turn"}}})
    problem = "3 answers are asked for, but infer/generate makes one. Use infer/sample (pipeline=best_of)."
    assert list(Generate().check(plan, plan.foreseen(), can())) == [(("sampling", "n"), problem)]
    assert list(Sample().check(plan, plan.foreseen(), can())) == []


def test_as_many_answers_as_nobody_can_say_are_refused_where_one_is_made(own_registry: None) -> None:
    @registered("several", per_token=False)
    def several(now: Now) -> float:
        """One more in each turn."""
        return 1 + now.turn

    plan = SamplingPlan().changed({"n": {"clip": {"of": "several", "low": 1}}})
    problem = "2 answers are asked for, but infer/generate makes one. Use infer/sample (pipeline=best_of)."
    assert list(Generate().check(plan, plan.foreseen(), can())) == [(("sampling", "n"), problem)]


def test_a_schedule_that_says_no_largest_value_counts_as_what_it_begins_with(own_registry: None) -> None:
    @registered("open-ended", per_token=False)
    def open_ended(now: Now) -> float:
        """More and more."""
        return float(now.turn)

    for parameter in ("n", "max_tokens"):
        for given in ("open-ended", {"clip": {"of": "open-ended", "low": 1}}):
            plan = SamplingPlan().changed({parameter: given})
            assert plan.most(parameter) == 1
            assert list(Generate().check(plan, plan.foreseen(), can())) == []


def test_a_server_is_never_asked_for_less_than_a_schedule_says() -> None:
    with pytest.raises(EngineError) as caught:
        DIALECTS["common"].body("m", Request(prompt("hello"), schedule(min_p=0.1)), seeds=True)
    assert str(caught.value) == "sampling.min_p: the engine cannot honour it. It takes: stop, temperature, top_p."
