"""The policy that has the model itself sum up what leaves the window.

The summary stands before the turns that stay as they were said, and changes only when they do: what moves the beginning
of the prompt moves it once, and a prefix cache finds all of it again in the turns between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vllm_flow.core.errors import EngineError
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions, Store
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.segments import Item, LeftOut, Segment, Share
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Completion, Context, Turn, user
from vllm_flow.stages.context.earlier import Exchange, begun, exchanges
from vllm_flow.stages.context.rolling import Memory, Rolling, roll, transcript
from vllm_flow.stages.infer import refused

NAME = "summary"
"""Of the segment, and of the key in the conversation's state."""
ASK = "Summarize this conversation in two or three sentences. Keep names, numbers, wishes and decisions."
GO_ON = "Earlier, in short: "
SENTENCE = re.compile(r"""[.!?…。！？]+["'”’»)\]]*(?=\s|$)|[。！？]""")
"""The end of one."""


@stage("context/summary")
@dataclass(frozen=True)
class Summary(Rolling):
    """The newest turns, and of all older ones a summary that the model writes and goes on with.

    It is asked when `every` turns more have left the window, with the summary so far. A summary that comes to
    `max_tokens` ends with its last whole sentence; without one, or when the engine fails, the turns stay as they were
    said, up to twice `every` of them, and it is tried again. All of that is in the ledger.
    """

    def check(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(SamplingPlan(), self.schedule, engine, False)

    async def run(self, turn: Turn, store: Store, engine: Engine) -> Context:
        earlier = exchanges(turn, begun(turn, store))
        state = store.state(turn.conversation)

        async def read(memory: Memory, block: Sequence[Exchange], sample: int) -> tuple[Memory, Sequence[LeftOut]]:
            before = f"{GO_ON}{memory['text']}\n" if memory else ""
            asked = user(f"{ASK}\n\n{before}{transcript(block)}")
            text, lacking = summed_up(await self.answer(engine, (asked,), sample), NAME)
            return {"text": text}, lacking

        rolled = await roll(NAME, self, earlier, state.get(NAME, {}), read)
        kept = {**state, NAME: rolled.memory} if rolled.memory else state
        return rolled.context(kept, *segments(rolled.memory))


def segments(memory: Memory) -> Iterator[Segment]:
    if memory:
        item = Item(memory["text"], f"up to turn {memory['through'][0]}")
        yield Segment(NAME, (item,), "Earlier in this conversation:", "first", Share(overflow="all"))


def summed_up(answer: Completion, segment: str) -> tuple[str, tuple[LeftOut, ...]]:
    """What a model has written, and what is missing of it: the last sentence, of one that was cut.

    Raises EngineError when nothing is left.
    """
    text = answer.text.strip()
    if answer.finish_reason != "length":
        if not text:
            raise EngineError("the model wrote nothing")
        return text, ()
    length = f"{len(answer.token_ids)} tokens" if answer.token_ids else "`max_tokens`"
    if not (text := whole_sentences(text)):
        raise EngineError(f"what the model wrote in {length} holds no whole sentence")
    return text, (LeftOut(segment, "unfinished sentences", 1, f"what the model wrote came to {length}"),)


def whole_sentences(text: str) -> str:
    """As far as the last sentence ends; empty where none does."""
    ends = [found.end() for found in SENTENCE.finditer(text)]
    return text[: ends[-1]] if ends else ""
