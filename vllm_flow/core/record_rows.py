"""Rows of a record: what happened, as JSON values; what the request determines apart from what the machine does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm_flow.core.codec import to_json
from vllm_flow.core.events import Committed, Inferred
from vllm_flow.core.json_checks import ALONG
from vllm_flow.core.results import Result
from vllm_flow.core.values import Completion, Turn


def result_row(result: Result) -> dict[str, Any]:
    """One line of `results.jsonl`: what was asked, and the value or the failure."""
    turn = result.turn
    history = to_json(turn.history)
    return {
        "index": turn.index,
        **turn_key(turn),
        "sample": turn.sample,
        **({"tenant": turn.tenant} if turn.tenant else {}),
        **({"history": history} if history else {}),
        "message": to_json(turn.message),
        **({} if turn.reference is None else {"reference": to_json(turn.reference)}),
        **{name: getattr(turn, name) for name in ALONG if getattr(turn, name) not in (None, {})},
        "value": to_json(result.value),
        "failure": to_json(result.failure),
    }


def commits_row(result: Result, commits: Sequence[Committed]) -> dict[str, Any]:
    """One line of `commits.jsonl`: what a store in memory was given; a reply that is the result stands there."""
    replies = [None if one.reply is result.value else to_json(one.reply) for one in commits]
    pairs = zip(commits, replies, strict=True)
    kept = [{"store": one.store, "reply": reply, "state": to_json(one.state)} for one, reply in pairs]
    return {"index": result.turn.index, "commits": kept}


def shown(result: Result) -> dict[str, str]:
    """What a run prints of the result, unless its row says that already: as a text, or as the value's `text`."""
    if result.failure is not None or isinstance(result.value, Completion):
        return {}
    if (text := result.text) == text_in(to_json(result.value)):
        return {}
    return {"shown": text}


def text_in(value: Any) -> str:
    """What a value in a row of results says by itself."""
    text = value.get("text", "") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def timing_row(event: Inferred) -> dict[str, Any]:
    """One line of `timings.jsonl`: one request to an engine, in seconds and tokens."""
    decode_s, decoded = event.seconds - event.ttft_s, (event.usage.completion_tokens or 0) - 1
    return {
        **turn_key(event.turn),
        "node": event.node,
        "sample": event.sample,
        "finish_reason": event.reason,
        "prompt_tokens": event.usage.prompt_tokens,
        "cached_tokens": event.cached_tokens,
        "reuse_stopped_at": event.reuse_stopped_at,
        "completion_tokens": event.usage.completion_tokens,
        "ttft_s": round(event.ttft_s, 6),
        "seconds": round(event.seconds, 6),
        "tokens_per_s": round(decoded / decode_s, 2) if decoded > 0 and decode_s > 0 else None,
    }


def turn_key(turn: Turn) -> dict[str, Any]:
    """By what every row of a record says whose it is."""
    return {"conversation": turn.conversation, "turn": turn.number}
