"""Context stages: begin a turn with what its conversation remembers, and commit what was answered.

Reading and writing are two stages because the user's message is committed before inference: a process killed while it
answers has lost nothing the user said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from vllm_flow.core.adapting import STATE as ADAPTER
from vllm_flow.core.adapting import Adapted
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Store, StoredTurn
from vllm_flow.core.sampling import NEUTRAL
from vllm_flow.core.sampling_plan import STATE
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.values import Completion, Context, Message, Score, Turn, assistant


@stage("context/full")
@dataclass(frozen=True)
class Full:
    """All earlier messages of the conversation.

    A turn that failed has no answer, and a question without an answer is no history: it stays in the store and out of
    the context. An interrupted answer counts as far as it was said.
    """

    def run(self, turn: Turn, store: Store) -> Context:
        return Context((*begin(turn, store), *turn.history), state=store.state(turn.conversation))


@stage("context/window")
@dataclass(frozen=True)
class Window:
    """The newest turns of the conversation; how many messages were left out is counted and shown."""

    turns: Annotated[int, at_least(0)] = 8
    """How many earlier turns to keep, each a question and its answer."""

    def run(self, turn: Turn, store: Store) -> Context:
        earlier = (*begin(turn, store), *turn.history)
        asked = [place for place, message in enumerate(earlier) if message.role == "user"]
        start = asked[-self.turns] if 0 < self.turns <= len(asked) else 0 if self.turns else len(earlier)
        kept = tuple(message for place, message in enumerate(earlier) if place >= start or message.role == "system")
        why = f"older than the newest {self.turns} turns" if self.turns else "no earlier turn is kept"
        gone = len(earlier) - len(kept)
        left_out = (LeftOut("history", "messages", gone, why),) if gone else ()
        return Context(kept, state=store.state(turn.conversation), left_out=left_out)


@stage("context/update")
@dataclass(frozen=True)
class Update:
    """Commit the reply and the conversation's state in one transaction.

    With the schedule, what that has to remember; with a score as `feedback`, what the next turn's may follow; with the
    adapter, which one the next turn goes on from.
    """

    def run(
        self,
        turn: Turn,
        reply: Completion,
        context: Context,
        store: Store,
        *,
        schedule: Schedule | None = None,
        feedback: Score | None = None,
        adapter: Adapted | None = None,
    ) -> None:
        learned = {} if adapter is None else {ADAPTER: adapter.state}
        store.commit(turn, reply, {**context.state, **_remembered(reply, schedule, feedback), **learned})


def _remembered(reply: Completion, schedule: Schedule | None, feedback: Score | None) -> dict[str, Any]:
    if schedule is None and feedback is None:
        return {}
    liked = None if feedback is None else min(1.0, max(-1.0, feedback.value))
    usage = reply.usage
    state = (schedule or Schedule(NEUTRAL)).after(usage.prompt_tokens, usage.completion_tokens, liked)
    return {STATE: state} if state else {}


def begin(turn: Turn, store: Store) -> tuple[Message, ...]:
    """Commit the user's message, then everything said in the conversation's earlier turns, oldest first."""
    store.begin(turn)
    earlier = (stored for stored in store.turns(turn.conversation) if (stored.turn.number or 0) < (turn.number or 0))
    return tuple(message for stored in earlier for message in said(stored))


def said(stored: StoredTurn) -> tuple[Message, ...]:
    if stored.reply is None or not stored.reply.text:
        return stored.turn.history
    return (*stored.turn.history, stored.turn.message, *stored.reply.steps, assistant(stored.reply.text))
