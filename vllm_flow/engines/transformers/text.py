"""From token ids to visible text, piece by piece, so that the joined pieces are the text of the whole answer.

A token may be part of a character, and a tokenizer may drop the space before the first word. So each new token is
decoded together with the tokens of the piece before it, and what that adds is the new piece. Text that ends in the
replacement character may still become another character and waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vllm_flow.core.sampling import Sampling
from vllm_flow.core.values import FinishReason
from vllm_flow.engines.stopping import StopScanner

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """The visible text of one answer. `decode` turns ids into text, leaving special tokens out."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._decode = decode
        self._scanner = StopScanner(stops)
        self._window: list[int] = []
        """The ids of the last piece, then those that have not made a piece yet."""
        self._settled = 0
        """How many ids of the window the last piece has."""
        self._before = ""
        """The text of the last piece's ids alone."""

    @property
    def stopped(self) -> bool:
        """Whether a stop string is complete; it and everything after it is not visible."""
        return self._scanner.stopped

    def push(self, token_id: int, may_stop: bool = True) -> str:
        """What this token adds to the visible text; empty while a character or a possible stop string is incomplete.

        may_stop: whether a stop string that it completes counts as one.
        """
        self._window.append(token_id)
        text = self._decode(self._window)
        if text.endswith(INCOMPLETE) or len(text) <= len(self._before):
            return ""
        return self._scanner.push(self._take(text), may_stop)

    def flush(self, may_stop: bool = True) -> str:
        """What was held back, when no more tokens will come: incomplete characters as replacement characters."""
        rest = self._decode(self._window)[len(self._before) :]
        self._window, self._before, self._settled = [], "", 0
        return self._scanner.push(rest, may_stop) + self._scanner.flush()

    def _take(self, text: str) -> str:
        piece = text[len(self._before) :]
        self._window = self._window[self._settled :]
        self._settled = len(self._window)
        self._before = self._decode(self._window)
        return piece


class Saying:
    """What one answer says, token by token, and when that ends: at a token that ends it, a stop string, or its length.

    limits: as they stand at its beginning. ends: the ids that end a sequence, whatever the limits.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], limits: Sampling, ends: frozenset[int]) -> None:
        self.tokens = 0
        """How many there are so far."""
        self._limits = limits
        self._ends = ends.union(limits.stop_token_ids)
        self._text = TextStream(decode, limits.stop)

    def take(self, token_id: int, over: bool = False) -> tuple[str, FinishReason | None]:
        """What this token adds to the visible text; and with the last one, which adds all that was held back, why.

        over: whether nothing may follow it, as far as the answer's shape goes.
        """
        may_end = self.tokens >= self._limits.min_tokens
        self.tokens += 1
        ended = token_id in self._ends
        said = "" if ended else self._text.push(token_id, may_end)
        over = over and may_end
        if not (ended or over or self._text.stopped or self.tokens == self._limits.max_tokens):
            return said, None
        rest = "" if self._text.stopped else self._text.flush(may_end)
        # The text held back may turn out to hold a whole stop string.
        return said + rest, "stop" if ended or over or self._text.stopped else "length"
