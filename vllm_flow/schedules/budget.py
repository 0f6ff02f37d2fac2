"""Budget: answers that get shorter as a conversation's tokens or money run out, and then none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vllm_flow.core.errors import FlowError
from vllm_flow.core.moving import Now, Steered
from vllm_flow.core.options import OptionProblem, above, above_up_to, at_least
from vllm_flow.core.registry import schedule

MILLION = 1_000_000


@schedule("budget", per_token=False)
@dataclass(frozen=True)
class Budget:
    """A max_tokens within a conversation's budget of tokens or money: the most, or a share of what is left.

    Prompts count, too: what the turn before read is set aside for this turn's, which is not known when it begins. By
    what a prompt grows from one turn to the next, the last answer may go beyond the budget. When less is left than an
    answer of `least` tokens takes, the turn fails and says so.
    """

    most: Annotated[int, at_least(1)]
    """The longest answer in tokens, as long as there is plenty."""
    tokens: Annotated[int | None, at_least(1)] = None
    """Of prompts and answers together; null where `money` is set."""
    money: Annotated[float | None, above(0)] = None
    """In the currency of the prices; null where `tokens` is set."""
    prompt_price: Annotated[float, at_least(0)] = 0.0
    """Per million tokens read."""
    answer_price: Annotated[float, at_least(0)] = 0.0
    """Per million tokens generated."""
    share: Annotated[float, above_up_to(0, 1)] = 1.0
    """How much of what is left one answer may take: below 1, answers get shorter and shorter towards the end."""
    least: Annotated[int, at_least(1)] = 1
    """An answer of fewer tokens is not worth its prompt."""

    steers: ClassVar = frozenset({"max_tokens"})
    remembers: ClassVar = True

    def problems(self) -> Iterator[OptionProblem]:
        if (self.tokens is None) == (self.money is None):
            yield OptionProblem((), "it takes either `tokens` or `money`. Set one of the two.")
            return
        if self.money is not None and not self.prompt_price + self.answer_price:
            yield OptionProblem(("money",), "nothing has a price. Set `prompt_price` and `answer_price`.")
        if self.tokens is not None and self.prompt_price + self.answer_price:
            yield OptionProblem(("tokens",), "prices mean nothing to a budget in tokens. Remove them, or set `money`.")
        if self.least > min(self.most, self._room(0, 0)):
            yield OptionProblem(("least",), f"{self.least} tokens are more than the first answer may have. Lower it.")

    @property
    def bounds(self) -> tuple[float, float]:
        return self.least, self.most

    def at(self, now: Now) -> Steered:
        read, written = now.used_prompt_tokens, now.used_answer_tokens
        if read is None or written is None:
            raise FlowError("the engine does not tell how many tokens it used. Set a number, or choose another engine.")
        next_prompt = 0 if now.state is None else read - now.state
        room = self._room(read + next_prompt, written)
        if room < self.least:
            what = f"the budget of {self._told(self.tokens or self.money or 0)} is spent"
            used = f"{self._told(self._cost(read, written))} for {now.turn - 1} turns"
            left = f"and {self._told(self._cost(next_prompt, 0))} for the next prompt leave no answer"
            left += "" if self.least == 1 else f" of {self.least} tokens"
            raise FlowError(f"{what}: {used} {left}. Raise it, or begin another conversation.")
        return Steered(min(self.most, room), read)

    def _room(self, read: int, written: int) -> float:
        """How many tokens an answer may have after so many; infinity where answers cost nothing."""
        price = 1.0 if self.tokens is not None else self.answer_price / MILLION
        left = (self.tokens or self.money or 0) - self._cost(read, written)
        if left <= 0:
            return 0
        return math.floor(self.share * left / price + 1e-9) if price else math.inf

    def _cost(self, read: int, written: int) -> float:
        if self.tokens is not None:
            return read + written
        return (read * self.prompt_price + written * self.answer_price) / MILLION

    def _told(self, amount: float) -> str:
        return f"{amount:.0f} tokens" if self.tokens is not None else f"{amount:.6g} in money"
