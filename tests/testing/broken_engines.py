"""Engines of which each breaks one promise, and what the check says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from vllm_flow.core.errors import EngineError
from vllm_flow.core.ledger import Measured
from vllm_flow.core.likelihoods import Alternative, Scored, TokenLikelihood
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Capabilities
from vllm_flow.core.values import Finish, Prompt, Request, Token, Usage
from vllm_flow.engines.echo import Echo, EchoEngine, _answer

BROKEN: dict[Any, str] = {}
"""The options of each engine with all that is said of it."""
ENGINES: dict[str, type[EchoEngine]] = {}
ALL, MEDIA = Echo().capabilities().sampling, Echo().capabilities().media
BY_ID = {"stop_token_ids"}
"""What an engine with wrong ids cannot honour either."""


@resource("broken/engine")
@dataclass(frozen=True)
class Broken:
    """Any of the engines here, by the name of its class, which may say what it honours."""

    engine: str

    def capabilities(self) -> Capabilities:
        engine = ENGINES[self.engine]
        can = {"logprobs": True, "likelihoods": True, "score": getattr(engine, "scores", False), "media": MEDIA}
        return Capabilities(getattr(engine, "honours", ALL), **{**can, **getattr(engine, "says", {})})

    def open(self) -> EchoEngine:
        return ENGINES[self.engine]()


def told(*lines: str) -> Callable[[type[EchoEngine]], type[EchoEngine]]:
    def note(engine: type[EchoEngine]) -> type[EchoEngine]:
        ENGINES[engine.__name__] = engine
        BROKEN[Broken(engine.__name__)] = "\n".join(lines)
        return engine

    return note


class Changed(EchoEngine):
    """Says what `change` makes of an echo."""

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        tokens = [token async for token in super().generate(request)]
        for place, token in enumerate(tokens):
            yield self.change(token, place, request)

    def change(self, token: Token, place: int, request: Request) -> Token:
        return token


def hot(request: Request) -> bool:
    return request.schedule.at(0).temperature > 0


class Mishearing(EchoEngine):
    """Answers what `heard` makes of a request."""

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        async for token in super().generate(self.heard(request)):
            yield token

    def heard(self, request: Request) -> Request:
        return request


def sampled(request: Request, **sampling: Any) -> Request:
    """With these parameters in place of its own."""
    return replace(request, schedule=replace(request.schedule, sampling=replace(request.schedule.at(0), **sampling)))


@told("it_answers: the stream ended without a token. The last token tells why the answer ended.")
class Silent(EchoEngine):
    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        for token in ():
            yield token


@told(
    "answers_have_the_shapes_that_it_names: of Shape(schema=None, choices=('left', 'right', 'straight on'), regex=None): "
    "the answer does not fit its choices: 'Count from one to twelve, in words, one after the other.' is none of them. "
    "Remove what ends it early, such as a stop text, or ask again."
)
class IgnoresShapes(Mishearing):
    says: ClassVar = {"shapes": frozenset({"choices"})}

    def heard(self, request: Request) -> Request:
        return replace(request, shape=None)


@told(
    "answers_have_the_shapes_that_it_names: capabilities names the shape 'choice', which is none. Did you mean "
    "'choices'? There are: choices, regex, schema."
)
class NamesNoShape(EchoEngine):
    says: ClassVar = {"shapes": frozenset({"choice"})}


@told("it_answers: the last token has no finish. Say there why the answer ended.")
class SaysNotWhyItEnds(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        return replace(token, finish=None)


@told("it_answers: it raised EngineError: the key is wrong. It should not.")
class HasNoKey(EchoEngine):
    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        raise EngineError("the key is wrong.")
        yield


@told("it_answers: generate gave no asynchronous generator. Write it with `yield`.")
class GivesAList(EchoEngine):
    async def generate(self, request: Request) -> list[Token]:  # type: ignore[override]
        return []


@told(
    "its_capabilities_are_sampling_parameters: capabilities names 'temprature', which is no sampling parameter. Did "
    "you mean 'temperature'? There are: bad_words, dry_allowed_length, dry_base, dry_multiplier, "
    "dry_sequence_breakers, end_bias, epsilon_cutoff, frequency_penalty, logit_bias, max_tokens, min_p, min_tokens, n, presence_penalty, "
    "repetition_penalty, stop, stop_token_ids, temperature, top_k, top_n_sigma, top_p, typical_p, xtc_probability, xtc_threshold."
)
class HonoursWhatThereIsNot(EchoEngine):
    honours = ALL | {"temprature"}


@told("no_token_but_the_last_carries_a_finish: token 2 of 11 carries a finish. Only the last one may.")
class EndsTwice(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        return replace(token, finish=token.finish or Finish("stop", Usage(1, 1))) if place == 1 else token


@told("only_what_it_says_is_unknown: it gives token ids, though capabilities say token_ids=False. Say True.")
class KnowsIdsAfterAll(EchoEngine):
    says: ClassVar = {"token_ids": False}


@told(
    "only_what_it_says_is_unknown: count gave 11, though capabilities say counts=False. Raise EngineError, or say True."
)
class CountsAfterAll(EchoEngine):
    says: ClassVar = {"counts": False}


@told(
    "media_that_it_does_not_name_are_refused: it answered a prompt with a sound, though capabilities.media does not name "
    "audio. Raise EngineError, or name it."
)
class HearsNothingOfIt(EchoEngine):
    says: ClassVar = {"media": frozenset({"image"})}


@told("usage_counts_the_tokens: usage.completion_tokens is 12. It should be 11.")
class CountsOneTooMany(Changed):
    honours = ALL - {"stop"} - BY_ID

    def change(self, token: Token, place: int, request: Request) -> Token:
        if token.finish is None:
            return token
        usage = replace(token.finish.usage, completion_tokens=place + 2)
        return replace(token, finish=replace(token.finish, usage=usage))


@told("the_parts_of_a_prompt_add_up: it has no measure, though capabilities say measures=True. Say False.")
class MeasuresNothing(EchoEngine):
    says: ClassVar = {"measures": True}
    measure = None  # type: ignore[assignment]


@told("the_parts_of_a_prompt_add_up: the tokens measured is 12. It should be 11.")
class MeasuresOneTooMany(EchoEngine):
    says: ClassVar = {"measures": True}

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        found = super().measure(prompt)
        return replace(found, tokens=found.tokens + 1)


@told("the_parts_of_a_prompt_add_up: nothing that is said takes any token. Give what each part takes.")
class FindsNoPart(EchoEngine):
    says: ClassVar = {"measures": True}

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        return Measured(self.count(prompt), tuple((0,) * len(message.parts) for message in prompt.messages))


@told("the_parts_of_a_prompt_add_up: -1 tokens are measured of something. Give what each part takes, and no more.")
class MeasuresPartsTwice(EchoEngine):
    says: ClassVar = {"measures": True}

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        return replace(super().measure(prompt), tools=1)


@told("count_is_a_whole_number_above_zero: count is 11.0. It should be an int of 1 or more.")
class CountsInFloats(EchoEngine):
    """When it is asked; its usage is right."""

    def count(self, prompt: Prompt) -> int:
        return float(super().count(prompt))  # type: ignore[return-value]

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        async for token in EchoEngine().generate(request):
            yield token


@told(
    "each_token_adds_its_own_text: each text begins with the one before, up to 'Count from one to twelve, in words, one "
    "after the other.'. It should hold what is new."
)
class SaysAllAgain(Changed):
    honours = ALL - {"stop"} - BY_ID
    said = ""

    def change(self, token: Token, place: int, request: Request) -> Token:
        self.said = self.said * (place > 0) + token.text
        return replace(token, text=self.said)


@told(
    "an_answer_can_be_recorded: completion.token_ids.0: -1 does not fit. Give a whole number of 0 or more, below 2**63."
)
class KnowsNoIds(Changed):
    honours = ALL - BY_ID

    def change(self, token: Token, place: int, request: Request) -> Token:
        return replace(token, id=-1)


@told("max_tokens_ends_an_answer_with_length: number of tokens at max_tokens=1 is 11. It should be 1.")
class NeverStops(Mishearing):
    honours = ALL - BY_ID

    def heard(self, request: Request) -> Request:
        return sampled(request, max_tokens=99)


@told(
    "a_stop_string_ends_the_answer_and_is_not_part_of_it: the text of 'Count from one to twelve, in words, one after the "
    "other.' with stop=', ' is 'Count from one to twelve, in words, one after the other.'. It should be 'Count from one to "
    "twelve'."
)
class IgnoresStop(Mishearing):
    def heard(self, request: Request) -> Request:
        return sampled(request, stop=())


@told(
    "a_stop_token_ends_the_answer_and_adds_no_text: the text with stop_token_ids=[3644392259] is 'Count from one to twelve, in'. "
    "It should be 'Count from one to twelve,'."
)
class SaysTheStopToken(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        if not request.schedule.at(0).stop_token_ids or token.finish is None:
            return token
        return replace(token, text=" in")


@told(
    "each_parameter_it_honours_is_accepted: with min_p it raised TypeError: unexpected keyword 'min_p'. Honour it, or take "
    "it out of capabilities."
)
class KnowsNoMinP(EchoEngine):
    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        if request.schedule.at(0).min_p:
            raise TypeError("unexpected keyword 'min_p'")
        async for token in super().generate(request):
            yield token


@told(
    "logprobs_come_when_asked_for_and_only_then: a token's logprob is None, though it was asked for. It should be a number "
    "of 0 or less."
)
class GivesNoLogprobs(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        return replace(token, logprob=None)


@told("logprobs_come_when_asked_for_and_only_then: a logprob nobody asked for is 0.0. It should be None.")
class GivesLogprobsAlways(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        return replace(token, logprob=0.0)


@told("likelihoods_come_with_logprobs_and_change_no_token: a token has no likelihood, though logprobs were asked for.")
class GivesNoLikelihoods(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        return replace(token, likelihood=None)


@told("likelihoods_come_with_logprobs_and_change_no_token: token_ids with logprobs: [0] is 7. It should be 1142451046.")
class DrawsAnotherWhenAsked(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        return replace(token, id=7) if request.logprobs else token


@told("likelihoods_come_with_logprobs_and_change_no_token: (0.5, 0.0, 0.0) are no log-probability and two entropies.")
class IsSurerThanSure(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        return replace(token, likelihood=TokenLikelihood(0.5, 0.0, 0.0)) if request.logprobs else token


@told(
    "likelihoods_come_with_logprobs_and_change_no_token: 2 alternatives are listed. At most 0 were asked for.",
)
class ListsWhatNobodyAskedFor(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        two = (Alternative(1, "a", -1.0, -1.0), Alternative(2, "b", -2.0, -2.0))
        return replace(token, likelihood=TokenLikelihood(0.0, 0.0, 0.0, two)) if request.logprobs else token


@told(
    "likelihoods_come_with_logprobs_and_change_no_token: the alternatives are not in order. List the most probable first."
)
class ListsInDisorder(Changed):
    def change(self, token: Token, place: int, request: Request) -> Token:
        two = (Alternative(1, "a", -2.0, -1.0), Alternative(2, "b", -1.0, -2.0))[: request.top_logprobs]
        return replace(token, likelihood=TokenLikelihood(0.0, 0.0, 0.0, two)) if request.logprobs else token


@told("a_text_is_scored_token_by_token: its own answer is scored 1.000 nats a token apart from its logprobs.")
class ScoresAnothersAnswer(EchoEngine):
    scores = True

    async def score(self, prompt: Prompt | None, completion: str | tuple[int, ...], tenant: str = "") -> Scored:
        scored = await super().score(prompt, completion)
        return replace(scored, logprobs=tuple(one - 1.0 for one in scored.logprobs))


@told("a_text_is_scored_token_by_token: number of logprobs of a scored text is 10. It should be 11.")
class LosesALogprob(EchoEngine):
    scores = True

    async def score(self, prompt: Prompt | None, completion: str | tuple[int, ...], tenant: str = "") -> Scored:
        scored = await super().score(prompt, completion)
        return replace(scored, logprobs=scored.logprobs[1:])


@told("a_text_is_scored_token_by_token: a text without tokens was accepted. It should raise EngineError.")
class ScoresNothing(EchoEngine):
    scores = True

    async def score(self, prompt: Prompt | None, completion: str | tuple[int, ...], tenant: str = "") -> Scored:
        return await super().score(prompt, completion) if completion else Scored((), (), (), (), 0)


@told("what_it_says_of_itself_is_json: describe gave a list. It should give a mapping.")
class DescribesInAList(EchoEngine):
    def describe(self) -> Mapping[str, Any]:
        return ["echo"]  # type: ignore[return-value]


@told(
    "what_it_says_of_itself_is_json: describe: dtype: type cannot be written as JSON. Use texts, numbers, lists and "
    "mappings."
)
class DescribesWithAType(EchoEngine):
    def describe(self) -> Mapping[str, Any]:
        return {"dtype": float}


@told("greedy_says_the_same_whatever_the_seed: the greedy answer with another seed: token_ids[0] is 2. It should be 1.")
class DrawsWhenGreedy(Changed):
    honours = ALL - BY_ID

    def change(self, token: Token, place: int, request: Request) -> Token:
        return token if hot(request) else replace(token, id=request.seed)


@told("the_same_seed_says_the_same: it raised OverflowError: the seed is too large. It should not.")
class SeedsAreSigned(EchoEngine):
    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        if request.seed >= 2**63:
            raise OverflowError("the seed is too large")
        async for token in super().generate(request):
            yield token


@told("the_same_seed_says_the_same: it raised EngineError: one answer only. It should not.")
class HasNoSamples(EchoEngine):
    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        if request.sample > 0:
            raise EngineError("one answer only.")
        async for token in super().generate(request):
            yield token


@told(
    "the_same_seed_says_the_same: the second answer with one seed to sample 0: token_ids[0] is 2. It should be 1.",
)
class ForgetsTheSeed(Changed):
    """For large seeds; an engine that never minds them also fails in company."""

    drawn = 0

    def change(self, token: Token, place: int, request: Request) -> Token:
        if request.seed < 2**63:
            return token
        self.drawn += place == 0
        return replace(token, id=self.drawn)


@told("an_answer_does_not_depend_on_its_company: answer 0 in company: token_ids[0] is 24. It should be 1.")
class MindsItsCompany(EchoEngine):
    honours = ALL - BY_ID
    in_flight = 0

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        self.in_flight += 1
        try:
            async for token in super().generate(request):
                yield replace(token, id=self.in_flight)
        finally:
            self.in_flight -= 1


@told(
    "many_requests_are_in_flight_at_once: of three requests the first was answered before the second began. "
    "Await what takes time, or do it in a thread."
)
class NeverAwaits(EchoEngine):
    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        for token in _answer(request, (1,) * self.count(request.prompt)):
            yield token


@told(
    "a_stream_closed_early_frees_the_engine: the answer after streams that were closed early: token_ids[0] is 0. "
    "It should be 1142451046."
)
class IsUpsetWhenLeft(Changed):
    left = False

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        try:
            async for token in super().generate(request):
                yield replace(token, id=0) if self.left else token
        except GeneratorExit:
            self.left = True
            raise


@told(
    "a_stream_closed_early_frees_the_engine: it was not done after 0.3 s. Find what it waits for, or give a larger limit_s."
)
class KeepsItsSlot(EchoEngine):
    def __init__(self) -> None:
        self.slot = asyncio.Lock()

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        await self.slot.acquire()
        async for token in super().generate(request):
            yield token
        self.slot.release()


@told(
    "a_cancelled_request_ends_and_frees_the_engine: a cancelled request did not end with CancelledError. "
    "Let it pass through `generate`."
)
class CannotBeCancelled(EchoEngine):
    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        async for token in super().generate(request):
            yield token


@told("closing_twice_is_harmless: it raised RuntimeError: it is closed already. It should not.")
class ClosesOnce(EchoEngine):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("it is closed already")
        self.closed = True


@dataclass(frozen=True)
class Unnamed:
    """Options that are not registered."""

    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset(), media=MEDIA)

    def open(self) -> EchoEngine:
        return EchoEngine()


@resource("broken/served")
@dataclass(frozen=True)
class Served:
    """Options of which one can hold what no configuration says."""

    hosts: tuple[str, ...] = ()
    limit_s: float = 1.0

    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset(), media=MEDIA)

    def open(self) -> EchoEngine:
        return EchoEngine()


BROKEN |= {
    Unnamed(): "its_options_can_be_configured: Unnamed: it is not registered. Put @resource('role/manner') above the class.",
    Served("localhost", "1"): (  # type: ignore[arg-type]
        "its_options_can_be_configured: broken/served.hosts: 'localhost' does not fit. It takes a list, each item a text.\n"
        "broken/served.limit_s: '1' does not fit. It takes a number."
    ),
}
