"""What every engine promises, from its first answer to its end; what belongs together has a module of its own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.codec import completion_from_json, encode
from vllm_flow.core.errors import EngineError, listed, nearest
from vllm_flow.core.json_text import decode
from vllm_flow.core.media import A_KIND, Medium
from vllm_flow.core.messages import user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.values import Prompt
from vllm_flow.media import audio_from, image_from
from vllm_flow.testing.company_promises import COMPANY_PROMISES
from vllm_flow.testing.compare import named, require, same
from vllm_flow.testing.ending_promises import ENDING_PROMISES
from vllm_flow.testing.likelihood_promises import LIKELIHOOD_PROMISES
from vllm_flow.testing.measuring_promises import the_parts_of_a_prompt_add_up
from vllm_flow.testing.media import picture, sound
from vllm_flow.testing.options import option_problems, registered
from vllm_flow.testing.shape_promises import answers_have_the_shapes_that_it_names
from vllm_flow.testing.trial import Trial

Check = Callable[[Trial], Coroutine[Any, Any, None]]
PROMISES: list[Check] = []
TAME: dict[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.05,
    "epsilon_cutoff": 0.001,
    "typical_p": 0.9,
    "top_n_sigma": 2.0,
    "xtc_probability": 0.5,
    "xtc_threshold": 0.2,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "dry_multiplier": 0.8,
    "dry_base": 1.5,
    "dry_allowed_length": 3,
    "dry_sequence_breakers": ("\n",),
    "logit_bias": {5: 1.0},
    "end_bias": 0.5,
    "bad_words": ("never said",),
    "min_tokens": 2,
    "stop": ("\0never said\0",),
    "stop_token_ids": (6,),
}
"""A value for each parameter that is not the neutral one; `max_tokens` is always set, and `n` is the stage's affair."""


def promise(check: Check) -> Check:
    PROMISES.append(check)
    return check


@promise
async def it_answers(trial: Trial) -> None:
    """The first one to be tried: an engine that does not even answer is not asked for more."""
    for prompt in trial.prompts:
        tokens = await trial.tokens(trial.request(prompt))
        require(bool(tokens), "the stream ended without a token. The last token tells why the answer ended.")
        require(tokens[-1].finish is not None, "the last token has no finish. Say there why the answer ended.")


@promise
async def its_options_can_be_configured(trial: Trial) -> None:
    entry = registered(registry.resource, trial.options)
    found = "\n".join(option_problems(entry.name, trial.options))
    require(not found, found)


@promise
async def its_capabilities_are_sampling_parameters(trial: Trial) -> None:
    known = [field.name for field in dataclasses.fields(Sampling)]
    for name in sorted(trial.can.sampling - set(known)):
        what = f"capabilities names '{name}', which is no sampling parameter.{nearest(name, known)}"
        raise AssertionError(f"{what} There are: {listed(known)}.")


@promise
async def no_token_but_the_last_carries_a_finish(trial: Trial) -> None:
    for prompt in trial.prompts:
        tokens = await trial.tokens(trial.request(prompt))
        for place, token in enumerate(tokens[:-1], 1):
            require(token.finish is None, f"token {place} of {len(tokens)} carries a finish. Only the last one may.")


@promise
async def usage_counts_the_tokens(trial: Trial) -> None:
    for prompt in trial.prompts:
        answer = await trial.answer(trial.request(prompt))
        if trial.can.token_ids:
            same("usage.completion_tokens", answer.usage.completion_tokens, len(answer.token_ids))
        if trial.can.counts:
            same("usage.prompt_tokens", answer.usage.prompt_tokens, trial.engine.count(prompt))


@promise
async def only_what_it_says_is_unknown(trial: Trial) -> None:
    """Ids and counts are there, or capabilities say that they are not."""
    answer = await trial.answer(trial.request(trial.prompts[0]))
    known = trial.can.token_ids or not answer.token_ids
    require(known, "it gives token ids, though capabilities say token_ids=False. Say True.")
    if trial.can.counts:
        return
    try:
        count = trial.engine.count(trial.prompts[0])
    except EngineError:
        return
    raise AssertionError(f"count gave {count}, though capabilities say counts=False. Raise EngineError, or say True.")


@promise
async def count_is_a_whole_number_above_zero(trial: Trial) -> None:
    for prompt in trial.prompts if trial.can.counts else ():
        count = trial.engine.count(prompt)
        require(type(count) is int and count > 0, f"count is {count!r}. It should be an int of 1 or more.")


promise(the_parts_of_a_prompt_add_up)


@promise
async def media_that_it_does_not_name_are_refused(trial: Trial) -> None:
    """Left out without a word, they would be answered about all the same."""
    shown: tuple[Medium, ...] = (image_from(picture(), "cat.png"), audio_from(sound(), "cat.wav"))
    for medium in (one for one in shown if one.kind not in trial.can.media):
        try:
            await trial.tokens(trial.request(Prompt((user("What is this?", medium),))))
        except EngineError:
            continue
        what = f"it answered a prompt with {A_KIND[medium.kind]}, though capabilities.media does not name {medium.kind}"
        raise AssertionError(f"{what}. Raise EngineError, or name it.")


@promise
async def each_token_adds_its_own_text(trial: Trial) -> None:
    """Cumulative text, as some libraries stream it, would be said over and over."""
    _, tokens = await trial.long_answer()
    said = [token.text for token in tokens if token.text]
    pairs = list(itertools.pairwise(said))
    repeats = len(pairs) > 1 and all(after.startswith(before) and after != before for before, after in pairs)
    require(not repeats, f"each text begins with the one before, up to {said[-1]!r}. It should hold what is new.")


@promise
async def an_answer_can_be_recorded(trial: Trial) -> None:
    can = trial.options.capabilities()
    top = 3 if can.logprobs and can.likelihoods else 0
    answer = await trial.answer(trial.request(trial.prompts[0], logprobs=can.logprobs, top_logprobs=top))
    try:
        again = completion_from_json(decode(encode(answer)))
    except ValueError as error:
        raise AssertionError(str(error)) from error
    same("the recorded answer", again, answer)


for about_ending in ENDING_PROMISES:
    promise(about_ending)


@promise
async def each_parameter_it_honours_is_accepted(trial: Trial) -> None:
    honoured = {name: value for name, value in TAME.items() if trial.honours(name)}
    each: list[dict[str, Any]] = [{name: value} for name, value in honoured.items()]
    for given in (*each, honoured):
        try:
            await trial.answer(trial.request(trial.prompts[0], max_tokens=4, **given))
        except Exception as error:
            what = f"with {listed(given)} it raised {named(error)}"
            raise AssertionError(f"{what}. Honour it, or take it out of capabilities.") from error


for about_likelihood in LIKELIHOOD_PROMISES:
    promise(about_likelihood)


promise(answers_have_the_shapes_that_it_names)


@promise
async def what_it_says_of_itself_is_json(trial: Trial) -> None:
    facts = trial.engine.describe()
    require(isinstance(facts, Mapping), f"describe gave a {type(facts).__name__}. It should give a mapping.")
    try:
        encode(facts)
    except ValueError as error:
        raise AssertionError(f"describe: {error}") from error


@promise
async def greedy_says_the_same_whatever_the_seed(trial: Trial) -> None:
    if not trial.honours("temperature"):
        return
    for prompt in trial.prompts:
        first = await trial.answer(trial.greedy(prompt, seed=1))
        same("the greedy answer with another seed", await trial.answer(trial.greedy(prompt, seed=2)), first)


@promise
async def the_same_seed_says_the_same(trial: Trial) -> None:
    """To every sample, too. Two samples may differ or be equal: the runner gives each another seed, of 64 bits."""
    if trial.can.seeded != "exactly":
        return
    for prompt, sample in (*((prompt, 0) for prompt in trial.prompts), (trial.prompts[0], 1)):
        request = trial.request(prompt, seed=2**63 + 11, sample=sample)
        first = await trial.answer(request)
        same(f"the second answer with one seed to sample {sample}", await trial.answer(request), first)


for about_company in COMPANY_PROMISES:
    promise(about_company)


@promise
async def closing_twice_is_harmless(trial: Trial) -> None:
    """The last one to be tried: the engine is closed afterwards."""
    trial.engine.close()
    trial.engine.close()
