"""The policy that has the model itself sum up what leaves the window.

The summary stands before the turns that stay as they were said, and changes only when they do: what moves the beginning
of the prompt moves it once, and a prefix cache finds all of it again in the turns between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vllm_flow.core.messages import user
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions, Store
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.segments import Item, LeftOut, Segment, Share
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Completion, Context, Turn
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
    `max_tokens` ends with its last whole sentence. When the engine fails, the turns stay as they were said, up to twice
    `every` of them, and it is tried again. All of that is in the ledger.
    """

    def check(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(SamplingPlan(), self.schedule, engine)

    async def run(self, turn: Turn, store: Store, engine: Engine) -> Context:
        earlier = exchanges(turn, begun(turn, store))
        state = store.state(turn.conversation)

        async def read(memory: Memory, block: Sequence[Exchange], sample: int) -> tuple[Memory, Sequence[LeftOut]]:
            before = memory.get("text", "")
            so_far = f"{GO_ON}{before}\n" if before else ""
            asked = user(f"{ASK}\n\n{so_far}{transcript(block)}")
            text, lacking = summed_up(await self.answer(engine, (asked,), sample), before, NAME)
            return {"text": text}, lacking

        rolled = await roll(NAME, self, earlier, state.get(NAME, {}), read)
        kept = {**state, NAME: rolled.memory} if rolled.memory else state
        return rolled.context(kept, *self._segments(rolled.memory))

    def _segments(self, memory: Memory) -> Iterator[Segment]:
        if text := memory.get("text"):
            share = Share(overflow="all")
            yield Segment(NAME, (Item(text),), "Earlier in this conversation:", self.place, share)


def summed_up(answer: Completion, before: str, segment: str) -> tuple[str, tuple[LeftOut, ...]]:
    """What a model has written, or what was there `before` when it wrote nothing; and what is missing of it.

    Of an answer that was cut, the last sentence goes; one that has no whole sentence ends with a mark.
    """
    text = answer.text.strip()
    if not text:
        return before, (LeftOut(segment, "updates", 1, "the model wrote nothing"),)
    if answer.finish_reason != "length":
        return text, ()
    why = f"the model wrote more than {answer.usage.completion_tokens or 'so many'} tokens"
    return whole_sentences(text) or f"{text} …", (LeftOut(segment, "unfinished sentences", 1, why),)


def whole_sentences(text: str) -> str:
    """As far as the last sentence ends; empty where none does."""
    ends = [found.end() for found in SENTENCE.finditer(text)]
    return text[: ends[-1]] if ends else ""
