"""The values that a stage is given in a test, made from a text: what a test does not care about is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vllm_flow.core.messages import Message, assistant, user
from vllm_flow.core.plugins import load_built_in
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.segments import facts_of
from vllm_flow.core.values import Completion, Context, FinishReason, Prompt, Turn, Usage
from vllm_flow.engines.echo import pieces, token_id


def turn(text: str, conversation: str = "test", number: int = 1, history: Sequence[Message] = ()) -> Turn:
    """A numbered turn, as the runner hands it out."""
    return Turn(conversation, user(text), tuple(history), number)


def completion(text: str, finish_reason: FinishReason = "stop", logprobs: Sequence[float] | None = None) -> Completion:
    """An answer to a prompt of one token; its own tokens are those of EchoEngine, a word and the space before it.

    Raises ValueError for logprobs of another number than tokens.
    """
    ids = tuple(map(token_id, pieces(text) or [""]))
    if logprobs is not None and len(logprobs) != len(ids):
        raise ValueError(f"{len(logprobs)} logprobs for {text!r}, which has {len(ids)} tokens. Give one for each.")
    return Completion(text, ids, finish_reason, Usage(1, len(ids)), None if logprobs is None else tuple(logprobs))


def prompt(*said: str | Message) -> Prompt:
    """A prompt. Texts are said by user and assistant in turn, the first by the user; a message stays what it is."""
    return Prompt(tuple(_messages(said)))


def context(
    *said: str | Message, facts: Mapping[str, str] | None = None, state: Mapping[str, Any] | None = None
) -> Context:
    """What was said before the turn, in the manner of `prompt`, and what is known: the segment `facts`."""
    return Context(tuple(_messages(said)), state or {}, segments=(facts_of(facts),) if facts else ())


def schedule(**sampling: Any) -> Schedule:
    """Sampling parameters, each a number or a schedule as a configuration has it; those not named are neutral."""
    load_built_in()
    return SamplingPlan().changed(sampling).schedule()


def _messages(said: Sequence[str | Message]) -> Iterator[Message]:
    role = "assistant"
    for one in said:
        message = one if isinstance(one, Message) else assistant(one) if role == "user" else user(one)
        role = message.role
        yield message
