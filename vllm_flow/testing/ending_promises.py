"""What every engine promises of how an answer ends: by its length, by a stop string, by a stop token."""

from __future__ import annotations

from vllm_flow.testing.compare import brief, same
from vllm_flow.testing.trial import Trial


async def max_tokens_ends_an_answer_with_length(trial: Trial) -> None:
    prompt, whole = await trial.long_answer()
    for limit in (1, len(whole) // 2):
        answer = await trial.answer(trial.greedy(prompt, max_tokens=limit))
        same(f"number of tokens at max_tokens={limit}", trial.length(answer), limit)
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
    same(f"the text of {brief(whole)} with stop={stop!r}", answer.text, whole[: whole.index(stop)])
    same(f"finish_reason with stop={stop!r}", answer.finish_reason, "stop")
    same(f"usage.completion_tokens with stop={stop!r}", answer.usage.completion_tokens, trial.length(answer))


async def a_stop_token_ends_the_answer_and_adds_no_text(trial: Trial) -> None:
    """It is counted, and its id is there: the text alone leaves it out."""
    if not trial.honours("stop_token_ids") or not trial.can.token_ids:
        return
    prompt, tokens = await trial.long_answer()
    ids = tuple(token.id for token in tokens if token.id is not None)
    stop = ids[len(ids) // 2]
    place = ids.index(stop)
    before = (await trial.answer(trial.greedy(prompt, max_tokens=place))).text if place else ""
    answer = await trial.answer(trial.greedy(prompt, stop_token_ids=(stop,)))
    same(f"token_ids with stop_token_ids={[stop]}", answer.token_ids, ids[: place + 1])
    same(f"the text with stop_token_ids={[stop]}", answer.text, before)
    same(f"finish_reason with stop_token_ids={[stop]}", answer.finish_reason, "stop")


ENDING_PROMISES = (
    max_tokens_ends_an_answer_with_length,
    a_stop_string_ends_the_answer_and_is_not_part_of_it,
    a_stop_token_ends_the_answer_and_adds_no_text,
)
