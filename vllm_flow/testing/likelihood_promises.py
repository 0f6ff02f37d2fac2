"""What every engine promises of probabilities: of tokens that it generates, and of a text that it is given."""

from __future__ import annotations

import asyncio
import itertools
import math

from vllm_flow.core.codec import encode
from vllm_flow.core.errors import EngineError
from vllm_flow.core.likelihoods import Scored, TokenLikelihood
from vllm_flow.core.resources import Scorer
from vllm_flow.core.taking import score
from vllm_flow.core.values import Prompt
from vllm_flow.testing.compare import refused, require, same
from vllm_flow.testing.trial import Trial, all_of

Asked = tuple[Prompt | None, str | tuple[int, ...]]
NEARLY = 0.1
"""How many nats a token may lie between a text that is scored and one that is generated: they may be computed apart."""


async def logprobs_come_when_asked_for_and_only_then(trial: Trial) -> None:
    if not trial.options.capabilities().logprobs:
        return
    for token in await trial.tokens(trial.request(trial.prompts[0], logprobs=True)):
        if token.finish is not None and token.id is None and not token.text:
            continue  # a finish by itself, which is no token of the model
        fits = isinstance(token.logprob, float) and math.isfinite(token.logprob) and token.logprob <= 0
        what = f"a token's logprob is {token.logprob!r}, though it was asked for"
        require(fits, f"{what}. It should be a number of 0 or less.")
    for token in await trial.tokens(trial.request(trial.prompts[0])):
        same("a logprob nobody asked for", token.logprob, None)


async def likelihoods_come_with_logprobs_and_change_no_token(trial: Trial) -> None:
    if not trial.options.capabilities().likelihoods:
        return
    plain = await trial.answer(trial.request(trial.prompts[0]))
    same("the likelihoods nobody asked for", plain.likelihoods, None)
    for count in (0, 3):
        answer = await trial.answer(trial.request(trial.prompts[0], logprobs=True, top_logprobs=count))
        same("token_ids with logprobs", answer.token_ids, plain.token_ids)
        require(answer.likelihoods is not None, "a token has no likelihood, though logprobs were asked for.")
        if len(answer.logprobs or ()) == len(answer.token_ids):  # else the promise above is broken
            for found in zip(answer.token_ids, answer.logprobs or (), answer.likelihoods or (), strict=True):
                _check_likelihood(*found, count)


def _check_likelihood(token_id: int, logprob: float, one: TokenLikelihood, count: int) -> None:
    numbers = (one.processed_logprob, one.raw_entropy, one.processed_entropy)
    signs = numbers[0] <= 0 <= min(numbers[1:])
    require(all(map(math.isfinite, numbers)) and signs, f"{numbers} are no log-probability and two entropies.")
    listed = one.alternatives
    require(len(listed) <= count, f"{len(listed)} alternatives are listed. At most {count} were asked for.")
    falling = all(before.raw_logprob >= after.raw_logprob for before, after in itertools.pairwise(listed))
    require(falling, "the alternatives are not in order. List the most probable first.")
    for other in listed:
        if other.id == token_id:
            same("raw_logprob of the drawn token", other.raw_logprob, logprob)
            same("processed_logprob of the drawn token", other.processed_logprob, one.processed_logprob)


async def a_text_is_scored_token_by_token(trial: Trial) -> None:
    if not trial.options.capabilities().score:
        return
    engine, prompt = trial.engine, trial.prompts[0]
    require(isinstance(engine, Scorer), "it has no `score`, though its capabilities say so.")
    answer = await trial.answer(trial.request(prompt, logprobs=trial.options.capabilities().logprobs))
    asked: list[tuple[Prompt | None, str | tuple[int, ...]]] = [
        (prompt, answer.token_ids),
        (prompt, "So."),
        (None, "To be."),
    ]
    alone = [await score(engine, *one) for one in asked]
    for scored in alone:
        _check_scored(scored)
    same("token_ids of ids that were scored", alone[0].token_ids, answer.token_ids)
    same("prompt_tokens of what was scored after a prompt", alone[0].prompt_tokens, engine.count(prompt))
    if answer.logprobs is not None:
        apart = abs(alone[0].logprob - sum(answer.logprobs)) / len(answer.logprobs)
        require(apart < NEARLY, f"its own answer is scored {apart:.3f} nats a token apart from its logprobs.")
    company = [trial.tokens(trial.request(one, seed=place)) for place, one in enumerate(trial.prompts)]
    scored_together, _ = await asyncio.gather(all_of([score(engine, *one) for one in asked]), all_of(company))
    same("what was scored in company", scored_together, alone)
    with refused("a text without tokens", EngineError):
        await score(engine, prompt, "")


def _check_scored(scored: Scored) -> None:
    for name in ("logprobs", "entropies", "greedy"):
        same(f"number of {name} of a scored text", len(getattr(scored, name)), len(scored.token_ids))
    require(all(one <= 0 for one in scored.logprobs), "a scored text has a log-probability above 0.")
    require(all(one >= 0 for one in scored.entropies), "a scored text has an entropy below 0.")
    encode(scored)


LIKELIHOOD_PROMISES = (
    logprobs_come_when_asked_for_and_only_then,
    likelihoods_come_with_logprobs_and_change_no_token,
    a_text_is_scored_token_by_token,
)
