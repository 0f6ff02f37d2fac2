"""Shown: what a user sees of an answer while it is made, and what an interruption leaves of it.

Only the output node's tokens are live. Of an answer that may turn out to be a call of a tool, what could belong to the
call is held back until that is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vllm_flow.core.errors import EngineError
from vllm_flow.core.events import Event, TokenMade
from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Completion, Prompt, Token, Turn, Usage

Hold = Callable[[str, str, bool], bool]
"""(an answer's text so far, its end that nobody has seen yet, whether it is all) → whether that end stays unseen."""


@dataclass(frozen=True)
class Seat:
    """Whose request it is: what a bound engine needs to know."""

    turn: Turn
    node: str
    run_seed: int
    live: bool
    publish: Callable[[Event], None]
    said: Said
    hold: Hold | None = None
    """What of a live answer stays unseen; None: nothing."""


@dataclass
class Said:
    """What the user has seen of the answer so far; it is what an interruption leaves."""

    prompt: Prompt | None = None
    engine: Engine | None = None
    tokens: list[Token] = field(default_factory=list)

    def partial(self) -> Completion | None:
        """The answer as far as it was said, or None if nothing was."""
        if self.prompt is None or self.engine is None or not self.tokens:
            return None
        text = "".join(token.text for token in self.tokens)
        ids = tuple(token.id for token in self.tokens if token.id is not None)
        try:
            read = self.engine.count(self.prompt)
        except EngineError:  # it has no tokenizer
            read = None
        return Completion(text, ids, "interrupted", Usage(read, len(ids) or None))


def holding(engine: Engine, hold: Hold) -> Engine:
    """The engine a stage was given; of its answers that is live which need not be held back."""
    bind = getattr(engine, "holding", None)
    return bind(hold) if bind else engine  # one that is not bound shows nothing to anybody


class Shown:
    """What of one answer is live, token by token."""

    def __init__(self, seat: Seat, sample: int, live: bool) -> None:
        self._seat, self._sample = seat, sample
        self.live = live
        """Whether anything of it may be."""
        self.seen = live and seat.hold is None
        """Whether anything of it was."""
        self._held: list[Token] = []
        self._text = ""

    def take(self, token: Token) -> None:
        hold = self._seat.hold
        if not self.live or hold is None:
            self._publish(token, self.live)
            return
        self._held.append(token)
        self._text += token.text
        hidden = hold(self._text, "".join(one.text for one in self._held), token.finish is not None)
        if hidden and token.finish is None:
            return
        self.seen = self.seen or not hidden
        for one in self._held:
            self._publish(one, not hidden)
        self._held.clear()

    def _publish(self, token: Token, live: bool) -> None:
        if live:
            self._seat.said.tokens.append(token)
        self._seat.publish(TokenMade(self._seat.turn, self._seat.node, self._sample, token, live))
