"""Earlier: what was said before a turn, in exchanges: a question, with all that was said until the next one.

Policies keep or drop exchanges and never messages, so that no answer stands without its question. An exchange has a
place that stays its own while the conversation grows, so that a conversation's state can say how far it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vllm_flow.core.errors import ConfigError, Fault, listed
from vllm_flow.core.messages import Message, assistant, by_question
from vllm_flow.core.resources import Store, StoredTurn
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.values import Turn

Place = tuple[int, int]
"""The number of the turn that it came with, and which it is of those, from 0."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer; messages before the first question belong to that."""

    place: Place
    messages: tuple[Message, ...]
    came_with: bool = False
    """Whether it came with the turn of that number, and is not that turn itself."""

    @property
    def source(self) -> str:
        return f"{'before ' if self.came_with else ''}turn {self.place[0]}"

    @property
    def spoken(self) -> tuple[Message, ...]:
        """Without rules, which neither side says."""
        return tuple(one for one in self.messages if one.role != "system")


def begin(turn: Turn, store: Store) -> tuple[Message, ...]:
    """Commit the user's message, then everything said in the conversation's earlier turns, oldest first."""
    return tuple(message for stored in begun(turn, store) for message in said(stored))


def begun(turn: Turn, store: Store, remembers: bool = False) -> tuple[StoredTurn, ...]:
    """Commit the user's message, then the conversation's earlier turns, answered or not.

    Raises ConfigError for a turn with something to remember, in a policy that does not.
    """
    if turn.remember and not remembers:
        what = f"the turn wants {listed(turn.remember)} remembered, and this policy keeps no facts"
        raise ConfigError([Fault("context", f"{what}. Choose context=facts.")])
    store.begin(turn)
    return tuple(one for one in store.turns(turn.conversation) if (one.turn.number or 0) < (turn.number or 0))


def said(stored: StoredTurn) -> tuple[Message, ...]:
    """A turn that failed has no answer, and a question without an answer is no history: it stays in the store alone."""
    if stored.reply is None or not stored.reply.text:
        return stored.turn.history
    return (*stored.turn.history, stored.turn.message, *stored.reply.steps, assistant(stored.reply.text))


def exchanges(turn: Turn, earlier: Iterable[StoredTurn]) -> tuple[Exchange, ...]:
    """All that was said before the turn, messages that came with it included."""
    found: list[Exchange] = []
    for of, messages in (*((one.turn, said(one)) for one in earlier), (turn, turn.history)):
        groups = list(by_question(messages))
        came = len(groups) - (len(messages) > len(of.history))
        found += [Exchange((of.number or 0, rank), one, rank < came) for rank, one in enumerate(groups)]
    return tuple(found)


def past(count: int, most: int, step: int) -> int:
    """How many of `count` exchanges are past when `most` may stay and `step` go at once."""
    return -(-max(0, count - most) // step) * step


def without(gone: Sequence[Exchange], kept: Sequence[Exchange]) -> tuple[Message, ...]:
    """The messages of what is kept, after the system messages of what is gone: those are rules, and rules stay."""
    rules = (message for one in gone for message in one.messages if message.role == "system")
    return (*rules, *(message for one in kept for message in one.messages))


def left_out(gone: Iterable[Exchange], why: str) -> tuple[LeftOut, ...]:
    """What became of exchanges that are not in the prompt; nothing where nothing is missing."""
    count = sum(len(one.spoken) for one in gone)
    return (LeftOut("history", "messages", count, why),) if count else ()
