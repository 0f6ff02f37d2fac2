"""What every engine promises of many requests: they do not touch each other, and each can be left."""

from __future__ import annotations

import asyncio

from vllm_flow.testing.compare import require, same
from vllm_flow.testing.trial import Trial, all_of

CROWD = 24
"""How many requests keep each other company."""
LONG = 64
"""`max_tokens` of an answer that is left before its end."""


async def an_answer_does_not_depend_on_its_company(trial: Trial) -> None:
    if not trial.can.batch_invariant or trial.can.seeded != "exactly":
        return
    requests = [
        trial.request(trial.prompts[place % len(trial.prompts)], seed=place, max_tokens=4 + place % 9)
        for place in range(CROWD)
    ]
    alone = [await trial.answer(request) for request in requests[:3]]
    together = await all_of([trial.answer(request) for request in requests])
    for place, answer in enumerate(alone):
        same(f"answer {place} in company", together[place], answer)


async def many_requests_are_in_flight_at_once(trial: Trial) -> None:
    """An engine that never awaits answers them one by one, and nothing else runs meanwhile: no token is seen live."""
    begun, begun_when_one_ended = 0, 0

    async def one() -> None:
        nonlocal begun, begun_when_one_ended
        begun += 1
        await trial.tokens(trial.request(trial.prompts[0], max_tokens=2))
        begun_when_one_ended = begun_when_one_ended or begun

    await all_of([one() for _ in range(3)])
    what = "of three requests the first was answered before the second began"
    require(begun_when_one_ended > 1, f"{what}. Await what takes time, or do it in a thread.")


async def a_stream_closed_early_frees_the_engine(trial: Trial) -> None:
    short = trial.greedy(trial.prompts[0], max_tokens=2)
    before = await trial.answer(short)
    for _ in range(3):
        stream = trial.stream(trial.request(trial.prompts[0], max_tokens=LONG))
        await anext(stream)
        await stream.aclose()
    same("the answer after streams that were closed early", await trial.answer(short), before)


async def a_cancelled_request_ends_and_frees_the_engine(trial: Trial) -> None:
    short = trial.greedy(trial.prompts[0], max_tokens=2)
    before = await trial.answer(short)
    for _ in range(3):
        task = asyncio.create_task(trial.tokens(trial.request(trial.prompts[0], max_tokens=LONG)))
        await asyncio.sleep(0)
        cancelled = task.cancel()  # False for an engine so quick that it has answered already
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        went_on = cancelled and not isinstance(outcome, asyncio.CancelledError)
        require(not went_on, "a cancelled request did not end with CancelledError. Let it pass through `generate`.")
    same("the answer after requests that were cancelled", await trial.answer(short), before)


COMPANY_PROMISES = (
    an_answer_does_not_depend_on_its_company,
    many_requests_are_in_flight_at_once,
    a_stream_closed_early_frees_the_engine,
    a_cancelled_request_ends_and_frees_the_engine,
)
