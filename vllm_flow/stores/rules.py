"""What every store demands of a turn and a reply, in the same words, so that a store is only where things are kept."""

from __future__ import annotations

from dataclasses import replace

from vllm_flow.core.codec import encode
from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.json_checks import LARGEST
from vllm_flow.core.values import Completion, Turn


def key_of(turn: Turn) -> tuple[str, int]:
    """The idempotency key (conversation, number). Raises StoreError for a turn that cannot have one."""
    if turn.number is None:
        raise StoreError(f"conversation '{turn.conversation}': the turn has no number. Take it from next_number.")
    if not 1 <= turn.number <= LARGEST:
        raise StoreError(f"{place(turn)}: the number is out of range. Count from 1.")
    if not turn.conversation.isprintable() and any("\ud800" <= one <= "\udfff" for one in turn.conversation):
        shown = ascii(turn.conversation)
        raise StoreError(f"conversation {shown}: the name holds half a surrogate pair. Name it in valid Unicode.")
    return turn.conversation, turn.number


def place(turn: Turn) -> str:
    return f"conversation '{turn.conversation}', turn {turn.number}"


def as_kept(turn: Turn) -> Turn:
    """The turn as a store keeps it. A reference may be corrected later, and no answer depends on it."""
    return turn if turn.reference is None else replace(turn, reference=None)


def check_same(turn: Turn, stored: Turn) -> None:
    """Equal is what was said: message and history. `index` is the input's and `sample` the answer's.

    The history counts because a stored reply must not be served for a question that was asked in another context.
    """
    if turn.message != stored.message:
        raise TurnConflict(f"{place(turn)}: it is stored with another message. Use a free number, or undo that turn.")
    if turn.history != stored.history:
        raise TurnConflict(f"{place(turn)}: it is stored with another history. Use a free number, or undo that turn.")


def as_json(turn: Turn, value: object) -> str:
    """The JSON text of what is stored with `turn`: its message, the reply or the state. Raises StoreError."""
    try:
        return encode(value)
    except ValueError as error:
        raise StoreError(f"{place(turn)}: not stored, because of {error}") from None


def is_answered(reply: Completion | None) -> bool:
    return reply is not None and reply.finish_reason != "interrupted"


def not_begun(turn: Turn) -> StoreError:
    return StoreError(f"{place(turn)}: there is a reply but no such turn. Call begin first.")


def answered_otherwise(turn: Turn) -> StoreError:
    return StoreError(f"{place(turn)}: it is answered already, by another reply. Serve the reply that begin returns.")
