"""Adapting: what a conversation has taught the model, as a version, and what an engine is asked to learn next.

Dynamic evaluation: a model goes on learning from what it reads (Krause et al. 2018, arXiv:1709.07432), here in an
adapter of low rank beside weights that stay as they are (LoRA, Hu et al. 2021, arXiv:2106.09685). An adapter is never
changed: learning makes another one, whose version names all that it came from. So a conversation keeps a version and
nothing else, taking a turn back takes back what was learned in it, and equal lessons are learned once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from vllm_flow.core.errors import EngineError, listed, told
from vllm_flow.core.moving import Moving, Now, Steered
from vllm_flow.core.options import OptionProblem, above, at_least
from vllm_flow.core.values import Before

STATE = "adapter"
"""The key of a conversation's state under which its version is kept, and what its schedule remembers."""
RATE = "learning_rate"
Optimiser = Literal["adamw", "adam", "sgd", "rmsprop", "adagrad"]
"""Those of torch.optim that need no more than a learning rate and a weight decay."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """An adapter, by its version, and how it was learned."""

    version: str
    """A hash of the base weights, the version before, the tokens learned from and every option."""
    steps: int = 0
    """Of the optimiser, since the version before; 0 when nothing was learned this time."""
    tokens: int = 0
    """How many were learned from at each pass, since the version before."""
    losses: tuple[float, ...] = ()
    """Mean negative log-probability of the tokens of each step, in nats, before that step changed anything."""
    learning_rates: tuple[float, ...] = ()
    """Of each step."""
    kept: Steered | None = None
    """Of a schedule that remembers from turn to turn, what it gave."""

    @property
    def state(self) -> dict[str, Any]:
        """For the conversation's state: JSON values."""
        kept = {} if self.kept is None else {RATE: [self.kept.value, self.kept.state]}
        return {"version": self.version, **kept}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Adapted | None:
        """What a conversation's state says that it has learned so far; None: nothing."""
        said = state.get(STATE)
        if said is None:
            return None
        return cls(said["version"], kept=Steered(*said[RATE]) if RATE in said else None)

    @property
    def text(self) -> str:
        """What a run shows of it."""
        if not self.steps:
            return f"adapter {self.version[:8]}, nothing new"
        fall = f"loss {self.losses[0]:.3f} at first, {self.losses[-1]:.3f} at last"
        return f"adapter {self.version[:8]}: {self.tokens} tokens in {self.steps} steps, {fall}"


@dataclass(frozen=True, slots=True)
class Lesson:
    """A text to be learned, as what the model is to say after the prompt."""

    prompt: Before
    """Read, and not learned."""
    text: str | tuple[int, ...]
    """Or the ids of its tokens."""


@dataclass(frozen=True)
class Tuning:
    """How an adapter of low rank is learned."""

    rank: Annotated[int, at_least(1)] = 8
    """Of the two matrices beside a layer: more can hold more."""
    alpha: Annotated[float, above(0)] = 16.0
    """What the matrices make is multiplied by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Names of the linear layers that get matrices, such as q_proj; empty: every one but the head."""
    optimiser: Optimiser = "adamw"
    """Of torch.optim; it begins anew at each turn."""
    learning_rate: float | Moving = 1e-3
    """A number, or a schedule as `sampling` has them, in which a token is a step of the optimiser."""
    weight_decay: Annotated[float, at_least(0)] = 0.0
    """As the optimiser defines it."""
    passes: Annotated[int, at_least(1)] = 1
    """How often each text is gone through."""
    step_tokens: Annotated[int, at_least(1)] = 256
    """How many tokens are learned at one step, at most; it reads all that stands before them, too."""

    def problems(self) -> Iterator[OptionProblem]:
        moving = self.moving
        low = moving.bounds[0] if moving.bounds else 0.0
        if moving.needs:
            what = f"'{moving.name}' follows {listed(moving.needs)}, which is there only where tokens are drawn"
            yield OptionProblem((RATE,), f"{what}. Choose another.")
        elif moving.steers is not None and RATE not in moving.steers:
            yield OptionProblem(
                (RATE,), f"'{moving.name}' steers {listed(moving.steers)}, and nothing else. Choose another."
            )
        elif low < 0:
            yield OptionProblem((RATE,), f"'{moving.name}' comes to {low:g}. A learning rate is 0 or more.")

    @property
    def moving(self) -> Moving:
        return Moving.of(self.learning_rate)


@dataclass(frozen=True, slots=True)
class AdaptRequest:
    """What an engine is asked to learn."""

    lessons: tuple[Lesson, ...]
    how: Tuning
    after: Adapted | None = None
    """What to go on from; None: from the model as it is."""
    turn: int = 1
    """For the schedule, as are `done` and `feedback`: see Now."""
    done: float | None = None
    feedback: float | None = None
    tenant: str = field(default="")
    """Whose it is: another's equal lessons are learned apart."""

    def steered(self, steps: int) -> list[Steered]:
        """What the schedule gives at each step; one that moves from turn to turn is asked once.

        Raises EngineError when the schedule fails, or gives what is no learning rate.
        """
        moving, found = self.how.moving, list[Steered]()
        now = Now(turn=self.turn, max_tokens=steps, done=self.done, feedback=self.feedback)
        if self.after is not None and self.after.kept is not None and moving.remembers:
            now.before, now.state = self.after.kept.value, self.after.kept.state
        for step in range(steps if moving.per_token else 1):
            now.token = step
            try:
                given = moving.at(now)
                value = float(given.value)
            except Exception as error:  # a schedule is anybody's code
                raise EngineError(
                    f"{RATE}: the schedule '{moving.name}' fails at step {step}: {told(error)}"
                ) from error
            if not math.isfinite(value) or value < 0:
                what = f"the schedule '{moving.name}' gave {value:g} at step {step}"
                raise EngineError(f"{RATE}: {what}. It takes a number of 0 or more.")
            now.before, now.state = value, given.state
            found.append(Steered(value, given.state))
        return found if moving.per_token else found * steps
