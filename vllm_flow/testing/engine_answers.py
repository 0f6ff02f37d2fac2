"""What every engine promises of one answer: its tokens, their count, its end, and the parameters in force."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

from vllm_flow.core.codec import completion_from_json, decode, encode
from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.sampling import Sampling
from vllm_flow.testing.compare import has_methods, named, require, same
from vllm_flow.testing.trial import Trial

TAME: dict[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.05,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "stop": ("\0never said\0",),
}
"""A value for each parameter that is not the neutral one; `max_tokens` is always set, and `n` is the stage's affair."""


async def it_names_what_it_can_do(trial: Trial) -> None:
    has_methods(trial.options, EngineOptions)
    has_methods(trial.engine, Engine)
    known = [field.name for field in dataclasses.fields(Sampling)]
    for name in sorted(trial.options.capabilities().sampling - set(known)):
        what = f"capabilities names '{name}', which is no sampling parameter.{nearest(name, known)}"
        raise AssertionError(f"{what} There are: {listed(known)}.")


async def the_last_token_and_only_it_carries_a_finish(trial: Trial) -> None:
    for prompt in trial.prompts:
        tokens = await trial.tokens(trial.request(prompt))
        require(bool(tokens), "the stream ended without a token. The last token tells why the answer ended.")
        for place, token in enumerate(tokens[:-1], 1):
            require(token.finish is None, f"token {place} of {len(tokens)} carries a finish. Only the last one may.")
        require(tokens[-1].finish is not None, "the last token has no finish. Say there why the answer ended.")


async def usage_counts_the_tokens(trial: Trial) -> None:
    for prompt in trial.prompts:
        answer = await trial.answer(trial.request(prompt))
        same("usage.completion_tokens", answer.usage.completion_tokens, len(answer.token_ids))
        same("usage.prompt_tokens", answer.usage.prompt_tokens, trial.engine.count(prompt))


async def count_is_a_whole_number_above_zero(trial: Trial) -> None:
    for prompt in trial.prompts:
        count = trial.engine.count(prompt)
        require(type(count) is int and count > 0, f"count is {count!r}. It should be an int of 1 or more.")


async def each_token_adds_its_own_text(trial: Trial) -> None:
    """Cumulative text, as some libraries stream it, would be said over and over."""
    _, tokens = await trial.long_answer()
    said = [token.text for token in tokens if token.text]
    pairs = list(itertools.pairwise(said))
    repeats = len(pairs) > 1 and all(after.startswith(before) and after != before for before, after in pairs)
    require(not repeats, f"each text begins with the one before, up to {said[-1]!r}. It should hold what is new.")


async def an_answer_can_be_recorded(trial: Trial) -> None:
    answer = await trial.answer(trial.request(trial.prompts[0]))
    try:
        again = completion_from_json(decode(encode(answer)))
    except ValueError as error:
        raise AssertionError(str(error)) from error
    same("the recorded answer", again, answer)


async def max_tokens_ends_an_answer_with_length(trial: Trial) -> None:
    prompt, whole = await trial.long_answer()
    for limit in (1, len(whole) // 2):
        answer = await trial.answer(trial.greedy(prompt, max_tokens=limit))
        same(f"number of tokens at max_tokens={limit}", len(answer.token_ids), limit)
        same(f"finish_reason at max_tokens={limit}", answer.finish_reason, "length")


async def a_stop_string_ends_the_answer_and_is_not_part_of_it(trial: Trial) -> None:
    """The stop string lies across two tokens: the harder case."""
    if not trial.honours("stop"):
        return
    prompt, tokens = await trial.long_answer()
    said = [token.text for token in tokens if token.text]
    whole, middle = "".join(said), len(said) // 2
    stop = said[middle - 1][-1] + said[middle][0]
    answer = await trial.answer(trial.greedy(prompt, stop=(stop,)))
    same(f"the text of {whole!r} with stop={stop!r}", answer.text, whole[: whole.index(stop)])
    same(f"finish_reason with stop={stop!r}", answer.finish_reason, "stop")
    same(f"usage.completion_tokens with stop={stop!r}", answer.usage.completion_tokens, len(answer.token_ids))


async def each_parameter_it_honours_is_accepted(trial: Trial) -> None:
    honoured = {name: value for name, value in TAME.items() if trial.honours(name)}
    each: list[dict[str, Any]] = [{name: value} for name, value in honoured.items()]
    for given in (*each, honoured):
        try:
            await trial.answer(trial.request(trial.prompts[0], **given))
        except Exception as error:
            what = f"with {listed(given)} it raised {named(error)}"
            raise AssertionError(f"{what}. Honour it, or take it out of capabilities.") from error


async def logprobs_come_when_asked_for_and_only_then(trial: Trial) -> None:
    if not trial.options.capabilities().logprobs:
        return
    for token in await trial.tokens(trial.request(trial.prompts[0], logprobs=True)):
        fits = isinstance(token.logprob, float) and math.isfinite(token.logprob) and token.logprob <= 0
        require(
            fits, f"a token's logprob is {token.logprob!r}. It should be a number of 0 or less, since it was asked for."
        )
    for token in await trial.tokens(trial.request(trial.prompts[0])):
        same("a logprob nobody asked for", token.logprob, None)


async def what_it_says_of_itself_is_json(trial: Trial) -> None:
    facts = trial.engine.describe()
    require(isinstance(facts, Mapping), f"describe gave a {type(facts).__name__}. It should give a mapping.")
    try:
        encode(facts)
    except ValueError as error:
        raise AssertionError(f"describe: {error}") from error


PROMISES = (
    it_names_what_it_can_do,
    the_last_token_and_only_it_carries_a_finish,
    usage_counts_the_tokens,
    count_is_a_whole_number_above_zero,
    each_token_adds_its_own_text,
    an_answer_can_be_recorded,
    max_tokens_ends_an_answer_with_length,
    a_stop_string_ends_the_answer_and_is_not_part_of_it,
    each_parameter_it_honours_is_accepted,
    logprobs_come_when_asked_for_and_only_then,
    what_it_says_of_itself_is_json,
)
