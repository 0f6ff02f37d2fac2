"""What every engine promises of many answers: they repeat, they do not touch each other, and they can be left."""

from __future__ import annotations

import asyncio

from vllm_flow.testing.compare import require, same
from vllm_flow.testing.trial import Trial, all_of

CROWD = 24
"""How many requests are in flight at once."""
LONG = 64
"""`max_tokens` of an answer that is left before its end."""


async def greedy_says_the_same_whatever_the_seed(trial: Trial) -> None:
    if not trial.honours("temperature"):
        return
    for prompt in trial.prompts:
        first = await trial.answer(trial.greedy(prompt, seed=1))
        same("the greedy answer with another seed", await trial.answer(trial.greedy(prompt, seed=2)), first)


async def the_same_seed_says_the_same(trial: Trial) -> None:
    for prompt in trial.prompts:
        request = trial.request(prompt, seed=2**63 + 11)
        first = await trial.answer(request)
        same("the second answer with one seed", await trial.answer(request), first)


async def an_answer_does_not_depend_on_its_company(trial: Trial) -> None:
    requests = [
        trial.request(trial.prompts[place % len(trial.prompts)], seed=place, max_tokens=4 + place % 9)
        for place in range(CROWD)
    ]
    alone = [await trial.answer(request) for request in requests[:3]]
    together = await all_of([trial.answer(request) for request in requests])
    for place, answer in enumerate(alone):
        same(f"answer {place} in company", together[place], answer)


async def many_at_once_are_all_answered(trial: Trial) -> None:
    prompts = [trial.prompts[place % len(trial.prompts)] for place in range(CROWD)]
    streams = await all_of([trial.tokens(trial.request(prompt, max_tokens=4)) for prompt in prompts])
    ended = sum(1 for tokens in streams if tokens and tokens[-1].finish)
    same(f"number of answers to {CROWD} requests", ended, CROWD)


async def every_sample_is_answered_and_repeats(trial: Trial) -> None:
    """Two samples may differ and may be equal: the runner gives them other seeds."""
    for sample in (0, 1):
        request = trial.request(trial.prompts[0], seed=sample, sample=sample)
        first = await trial.answer(request)
        same(f"the second answer to sample {sample}", await trial.answer(request), first)


async def a_stream_closed_early_frees_the_engine(trial: Trial) -> None:
    prompt, short = trial.prompts[0], trial.greedy(trial.prompts[0], max_tokens=2)
    before = await trial.answer(short)
    for _ in range(3):
        stream = trial.stream(trial.request(prompt, max_tokens=LONG))
        await anext(stream)
        await stream.aclose()
    same("the answer after streams that were closed early", await trial.answer(short), before)


async def a_cancelled_request_ends_and_frees_the_engine(trial: Trial) -> None:
    prompt, short = trial.prompts[0], trial.greedy(trial.prompts[0], max_tokens=2)
    before = await trial.answer(short)
    for _ in range(3):
        task = asyncio.create_task(trial.tokens(trial.request(prompt, max_tokens=LONG)))
        await asyncio.sleep(0)
        cancelled = task.cancel()  # False for an engine so quick that it has answered already
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        went_on = cancelled and not isinstance(outcome, asyncio.CancelledError)
        require(not went_on, "a cancelled request did not end with CancelledError. Let it pass through `generate`.")
    same("the answer after requests that were cancelled", await trial.answer(short), before)


async def closing_twice_is_harmless(trial: Trial) -> None:
    """The last one to be tried: the engine is closed afterwards."""
    trial.engine.close()
    trial.engine.close()


PROMISES = (
    greedy_says_the_same_whatever_the_seed,
    the_same_seed_says_the_same,
    an_answer_does_not_depend_on_its_company,
    many_at_once_are_all_answered,
    every_sample_is_answered_and_repeats,
    a_stream_closed_early_frees_the_engine,
    a_cancelled_request_ends_and_frees_the_engine,
    closing_twice_is_harmless,
)
