"""Steering: an answer whose sampling parameters move, within vLLM, which takes one value of each for a whole answer.

So vLLM is told neutral ones, and hands over the logits of every token. Our own sampler applies to them the values of
that token, and vLLM draws from what is left, with its noise. An answer of a shape is steered, too: vLLM asks its own
libraries for a tokenizer, which it is not given, and they hold an answer to something else here and there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor

from vllm_flow.core.errors import EngineError, FlowError
from vllm_flow.core.moving import Signal
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Course
from vllm_flow.core.values import InForce, Request
from vllm_flow.engines.shaping import Shaping
from vllm_flow.engines.transformers.failures import check_left, check_numbers, finite, told
from vllm_flow.engines.transformers.history import History
from vllm_flow.engines.transformers.likelihood import entropies, weighed
from vllm_flow.engines.transformers.penalties import adjusted
from vllm_flow.engines.transformers.sampler import processed
from vllm_flow.engines.transformers.shaped import shaped
from vllm_flow.engines.transformers.vocabulary import Vocabulary


class Steering:
    """Of one answer: vLLM calls it before each token. Raises EngineError for a request that cannot be served."""

    def __init__(
        self,
        request: Request,
        limits: Sampling,
        prompt: list[int],
        vocabulary: Vocabulary,
        shaping: Shaping | None = None,
    ) -> None:
        """shaping: its own, which nobody else moves on."""
        self._seed = request.seed
        self._shape, self._shaping = request.shape, shaping
        self._course = self._before = Course(request.schedule)
        """With the newest token that was asked for, and without it."""
        self._output: list[int] = []
        self._history = History(prompt, self._output, vocabulary, limits)
        self._history.understand(limits)
        self._moved: list[InForce] = []
        """For each token that could be drawn."""
        self._drawn_from: Tensor | None = None
        """Logits, [1, vocab], of the newest token, if the schedule needs to know how it stood among them."""
        self._surprise: float | None = None
        """Of the token before."""
        self._failure: FlowError | None = None

    def __deepcopy__(self, _: Mapping[int, Any]) -> Steering:
        """vLLM copies what it is asked for, and this is one answer's all the same."""
        return self

    def moved(self, index: int) -> InForce | None:
        """What the token with this index was drawn with; None if nothing moves within the answer.

        Raises FlowError if its schedule or shape failed or left nothing.
        """
        if index < len(self._moved):
            return self._moved[index] if self._moved[index].values else None
        raise self._failure or EngineError(f"vLLM drew generated token {index} without asking. Report this.")

    def __call__(self, output: Sequence[int], logits: Tensor) -> Tensor:
        """What is to be drawn from, with all of its parameters applied. logits: the model's own, [vocab]."""
        if self._failure is not None:
            return logits
        try:
            return self._left(output, logits[None])[0]
        except Exception as error:  # a schedule is anybody's code, and other answers go on
            self._failure = told(error)
            return logits

    def _left(self, output: Sequence[int], logits: Tensor) -> Tensor:
        self._hear(output)
        index = len(self._output)
        if index < len(self._moved):  # asked again: of a prompt in pieces, only what is drawn after the last counts
            self._course = self._before
            self._moved.pop()
        check_numbers(finite(logits)[0], f"generated token {index}")
        self._before = copy(self._course)
        now = self._course.next(index, self._output, self._signals(logits))
        self._history.understand(now)
        marked = adjusted(logits, [now], [self._history])
        if self._shaping is not None:
            self._shaping.look()
            marked = shaped(marked, [self._shaping])
        check_left(finite(marked)[0], index, self._shape)
        left = processed(marked, [now], [self._seed], [index])
        self._drawn_from = left if "surprise" in self._course.needs else None
        self._moved.append(InForce(self._course.values, self._course.signals))
        return left

    def _hear(self, output: Sequence[int]) -> None:
        """Take what was drawn since."""
        if new := output[len(self._output) :]:
            self._output += new
            if self._shaping is not None:
                for token_id in new:
                    self._shaping.take(token_id)
            if self._drawn_from is not None:
                logs, _ = weighed(self._drawn_from, torch.tensor([[new[-1]]]))
                self._surprise = max(0.0, -float(logs[0, 0]))

    def _signals(self, logits: Tensor) -> Mapping[Signal, float]:
        found: dict[Signal, float] = {} if self._surprise is None else {"surprise": self._surprise}
        if "entropy" in self._course.needs:
            found["entropy"] = float(entropies(logits.float().cpu())[0])
        return found
