"""The policy that remembers a story: who is in it, where it plays, and what has happened so far.

Names outlive the chapters that told of them, and the plot is summed up anew as it goes on: two questions to the model
for each block, because a small one that is asked both at once answers neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from vllm_flow.core.messages import Message, assistant, user
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions, Store
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.segments import Item, LeftOut, Segment, Share
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Context, Turn
from vllm_flow.stages.context.earlier import Exchange, begun, exchanges
from vllm_flow.stages.context.notes import Notes, says
from vllm_flow.stages.context.rolling import Memory, Rolling, roll, transcript
from vllm_flow.stages.context.summary import summed_up
from vllm_flow.stages.infer import refused

NAME = "story"
"""Of the segment, and of the key in the conversation's state."""
KNOWN, PLOT = "known", "plot"
ASK = (
    "Who is in this part of a story, and where does it play? Write one line for each, as `character NAME: who that is` "
    "or `place NAME: what that is`, and nothing else."
)
EXAMPLES = (
    (
        "User: Tell of a knight called Brann who rides to the castle of Hale.\n"
        "Assistant: Brann, a young knight, rode all night. At the castle of Hale old queen Isolde gave him a sword.",
        "character Brann: a young knight\ncharacter Isolde: an old queen\nplace Hale: a castle",
    ),
    (
        "User: In the village of Tarn, a baker named Odo loses his cat.\n"
        "Assistant: Odo looked for his cat in every street of Tarn. A boy called Wim had seen it by the river.",
        "character Odo: a baker who lost his cat\ncharacter Wim: a boy\nplace Tarn: a village",
    ),
)
ASK_PLOT = "Summarize this story in two or three sentences, with the names of those who are in it:"
ENTRY = re.compile(r"(?:character|place) (\S.*)")


@stage("context/story")
@dataclass(frozen=True)
class Story(Rolling):
    """The newest turns, and of all older ones the characters, the places and the plot so far.

    Each block that leaves the window is read twice: for characters and places, of which those are believed whose names
    it has and the newest word on each stays; and for the plot, which is summed up with what was known of it.
    """

    turns: Annotated[int, at_least(0)] = 2
    """How many of the newest turns stay as they were said, at least."""
    every: Annotated[int, at_least(1)] = 2
    """How many turns more there have to be before these, the oldest ones, are read."""
    most: Annotated[int, at_least(1)] = 24
    """How many characters and places are remembered; those of whom nothing new is told are forgotten first."""
    longest: Annotated[int, at_least(8)] = 120
    """How many characters of text each may have, its name included."""

    def check(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(SamplingPlan(), self.schedule, engine)

    async def run(self, turn: Turn, store: Store, engine: Engine) -> Context:
        earlier, state = exchanges(turn, begun(turn, store)), store.state(turn.conversation)
        before = state.get(NAME, {})
        notes = Notes.of(before.get(KNOWN, ()), self.most, self.longest)

        async def read(memory: Memory, block: Sequence[Exchange], done: int) -> tuple[Memory, Sequence[LeftOut]]:
            told, plot = transcript(block), memory.get(PLOT, "")
            so_far = f"{plot}\n" if plot else ""
            asked = (asking(told), (user(f"{ASK_PLOT}\n\n{so_far}{told}"),))
            found, summary = await self.answers(engine, asked, 2 * done)
            plot, lacking = summed_up(summary, plot, NAME)
            notes.read(found.text, block[-1].place[0], partial(_doubt, f"{so_far}{told}"))
            return {KNOWN: notes.rows(), PLOT: plot}, lacking

        rolled = await roll(NAME, self, earlier, before, read)
        kept = {**state, NAME: rolled.memory} if rolled.memory else state
        return rolled.context(kept, *self._segments(rolled.memory, notes))

    def _segments(self, memory: Memory, notes: Notes) -> Iterator[Segment]:
        left_out = tuple(notes.left_out(NAME, "entries"))
        plot = (Item(f"plot: {memory[PLOT]}"),) if memory.get(PLOT) else ()
        if memory or left_out:
            share = Share(overflow="oldest")
            yield Segment(NAME, (*notes.items(), *plot), "The story so far:", self.place, share, left_out)


def asking(told: str) -> tuple[Message, ...]:
    """The examples, and then the part of the story."""
    shown = [message for part, found in EXAMPLES for message in (user(part), assistant(found))]
    return (user(f"{ASK}\n\n{EXAMPLES[0][0]}"), *shown[1:], user(told))


def _doubt(told: str, key: str, _: str) -> str | None:
    if (entry := ENTRY.fullmatch(key)) is None:
        return "neither `character NAME` nor `place NAME`"
    return None if says(told, entry[1]) else "a name that is not in the story"
