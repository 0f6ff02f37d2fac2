"""What an engine promises that says what the parts of a prompt take: that it adds up, token for token."""

from __future__ import annotations

from dataclasses import replace

from vllm_flow.core.measuring import Measures
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.values import Prompt
from vllm_flow.testing.compare import require, same
from vllm_flow.testing.trial import Trial


async def the_parts_of_a_prompt_add_up(trial: Trial) -> None:
    if not trial.can.measures:
        return
    engine = trial.engine
    require(isinstance(engine, Measures), "it has no measure, though capabilities say measures=True. Say False.")
    for prompt in (one for given in trial.prompts for one in (given, _in_parts(given))):
        if isinstance(engine, Measures):
            found = engine.measure(prompt)
            same("the tokens measured", found.tokens, engine.count(prompt))
            shape = [len(message.parts) for message in prompt.messages]
            same("parts of each message", [len(tokens) for tokens in found.parts], shape)
            least = min(found.tools, found.template, *(count for tokens in found.parts for count in tokens))
            require(least >= 0, f"{least} tokens are measured of something. Give what each part takes, and no more.")
            taken = sum(map(sum, found.parts))
            require(taken > 0, "nothing that is said takes any token. Give what each part takes.")


def _in_parts(prompt: Prompt) -> Prompt:
    """The same words, the last message in two parts."""
    *others, last = prompt.messages
    middle = len(last.text) // 2
    parts = (Text(last.text[:middle]), Text(last.text[middle:]))
    return replace(prompt, messages=(*others, Message(last.role, parts)))
