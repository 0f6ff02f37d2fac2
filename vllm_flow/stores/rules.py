"""What every store demands of a turn and a reply, in the same words, so that a store is only where things are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from vllm_flow.core.archive import Kept, KeptTurn
from vllm_flow.core.codec import encode
from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.json_checks import LARGEST
from vllm_flow.core.json_text import decode
from vllm_flow.core.messages import Message
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Turn

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OPENING = 60
"""Characters of the first message that stand for a title."""


def key_of(turn: Turn) -> tuple[str, int]:
    """The idempotency key (conversation, number). Raises StoreError for a turn that cannot have one."""
    if turn.number is None:
        raise StoreError(f"conversation '{turn.conversation}': the turn has no number. Take it from next_number.")
    if not 1 <= turn.number <= LARGEST:
        raise StoreError(f"{place(turn)}: the number is out of range. Count from 1.")
    check_name(turn.conversation)
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


def check_name(conversation: str) -> None:
    """Raises StoreError for a name that no file can hold."""
    if not conversation.isprintable() and any("\ud800" <= one <= "\udfff" for one in conversation):
        shown = ascii(conversation)
        raise StoreError(f"conversation {shown}: the name holds half a surrogate pair. Name it in valid Unicode.")


def unknown(conversation: str) -> StoreError:
    return StoreError(f"conversation {conversation!r}: it is not stored here. `vllm-flow context ls` lists what is.")


def check_fork(turns: Sequence[StoredTurn], conversation: str, number: int | None) -> None:
    """Raises StoreError when there is no such turn to branch off from."""
    numbers = [stored.turn.number for stored in turns]
    if not numbers:
        raise StoreError(f"conversation {conversation!r}: it has no turn to branch off from. Say something first.")
    if number is not None and number not in numbers:
        there = f"are turns {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"is turn {numbers[0]}"
        raise StoreError(f"conversation {conversation!r}: there is no turn {number}. There {there}.")


def taken(conversation: str) -> StoreError:
    return StoreError(f"conversation {conversation!r}: another one has this name. Choose another, or delete that one.")


def opening(message: Message) -> str:
    """How a conversation is called until somebody gives it a title: the beginning of what was said first."""
    line = " ".join(message.shown.split())
    return as_unicode(line if len(line) <= OPENING else f"{line[: OPENING - 1]}…")


def is_titled(title: str, taken_back: Iterable[StoredTurn]) -> bool:
    """Whether somebody gave the title, of a conversation of which all was taken back. Else it is how one began."""
    return bool(title) and title not in {opening(one.turn.message) for one in taken_back}


def as_title(conversation: str, title: str) -> str:
    """The title in one line. Raises StoreError for one without a word."""
    if not (line := " ".join(title.split())):
        raise StoreError(f"conversation {conversation!r}: the title has no word. Write one.")
    return as_unicode(line)


def as_unicode(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def as_loaded(kept: Kept) -> Kept:
    """The conversation as a store keeps it: as if it had been begun and committed turn by turn.

    Raises StoreError for what no store could have held.
    """
    check_name(kept.name)
    turns, before = list[KeptTurn](), 0
    for one in kept.turns:
        name, number = key_of(one.turn)
        if name != kept.name:
            raise StoreError(f"conversation {kept.name!r}: it holds a turn of {name!r}. Put that into its own.")
        if number <= before:
            raise StoreError(f"{place(one.turn)}: it follows turn {before}. Sort the turns by number, each once.")
        if (one.state is not None) != is_answered(one.reply):
            problem = "a turn has a state if it is answered, and only then"
            raise StoreError(f"{place(one.turn)}: {problem}. Give it a reply and a state, or no state.")
        before = number
        state = None if one.state is None else dict(decode(as_json(one.turn, one.state)))
        turns.append(KeptTurn(as_kept(one.turn), one.reply, state))
    title = as_unicode(" ".join(kept.title.split()))  # of a message without a word it is empty
    return Kept(kept.name, title, moment(milliseconds(kept.written)), tuple(turns))


def milliseconds(moment: datetime) -> int:
    """Since 1970, rounded down."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)
