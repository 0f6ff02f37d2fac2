"""The stage that ends a turn: the reply and what the conversation remembers, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.adapting import STATE as ADAPTER
from vllm_flow.core.adapting import Adapted
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Store
from vllm_flow.core.sampling import NEUTRAL
from vllm_flow.core.sampling_plan import STATE
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Completion, Context, Score, Turn


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
        remembered = _remembered(reply, schedule, feedback) or _without_feedback(context.state)
        store.commit(turn, reply, {**context.state, **remembered, **learned})


def _remembered(reply: Completion, schedule: Schedule | None, feedback: Score | None) -> dict[str, Any]:
    if schedule is None and feedback is None:
        return {}
    liked = None if feedback is None else min(1.0, max(-1.0, feedback.value))
    usage = reply.usage
    state = (schedule or Schedule(NEUTRAL)).after(usage.prompt_tokens, usage.completion_tokens, liked)
    return {STATE: state} if state else {}


def _without_feedback(state: Mapping[str, Any]) -> dict[str, Any]:
    """What schedules remember, when nobody said how this turn's answer is liked: a score was of the answer before."""
    kept = {name: value for name, value in state.get(STATE, {}).items() if name != "feedback"}
    return {STATE: kept} if STATE in state else {}
