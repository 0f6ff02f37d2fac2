"""Scoring: the log-probabilities of a text that is given, through the same loop and in pieces as prompts are read.

Of the logits after a piece only two numbers a token are kept, so memory does not grow with the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vllm_flow.core.errors import EngineError
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.values import Before, Prompt
from vllm_flow.engines.transformers.failures import check_numbers, check_reads, finite
from vllm_flow.engines.transformers.likelihood import weighed
from vllm_flow.engines.transformers.loaded import Loaded
from vllm_flow.engines.transformers.row import Job, Reading


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A text to be scored, or token ids; after a prompt, or the ids of one, or by itself."""

    prompt: Before
    completion: str | tuple[int, ...]
    tenant: str = ""
    adapter: str | None = None


class ScoreRow(Reading):
    """One text: all but its last token are read, and each token is weighed by the logits before it."""

    every = True

    def __init__(self, job: Job[ScoreRequest, Scored], before: list[int], scored: list[int]) -> None:
        super().__init__(job, [*before, *scored[:-1]], len(before) - 1)
        self._scored = scored
        self._logprobs: list[float] = []
        self._entropies: list[float] = []
        self._greedy: list[bool] = []

    def weigh(self, logits: Tensor) -> None:
        """Take the logits after each of the tokens read last, [tokens, vocab]; those within the prompt say nothing."""
        done = len(self._logprobs)
        end = self.sequence.length - self.first
        if end <= done:
            return
        logits = logits[done - end :]
        where = f"tokens {done} to {end - 1} of the text to score"
        check_numbers(all(finite(logits)), where, self.job.request.adapter)
        ids = torch.tensor(self._scored[done:end], device=logits.device)[:, None]
        logprobs, entropies = weighed(logits, ids)
        self._logprobs += logprobs[:, 0].tolist()
        self._entropies += entropies.tolist()
        self._greedy += (logits.argmax(-1) == ids[:, 0]).tolist()

    def scored(self) -> Scored:
        """When all of it is read."""
        numbers = tuple(self._logprobs), tuple(self._entropies), tuple(self._greedy)
        return Scored(tuple(self._scored), *numbers, self.first + 1)


def score_row(job: Job[ScoreRequest, Scored], loaded: Loaded) -> ScoreRow:
    """The row of a request. Raises EngineError for what cannot be scored."""
    asked = job.request
    return ScoreRow(job, *read_and_said(asked.prompt, asked.completion, loaded, "score", asked.tenant))


def read_and_said(
    given: Before,
    completion: str | tuple[int, ...],
    loaded: Loaded,
    aim: Literal["score", "learn"],
    tenant: str | None = None,
) -> tuple[list[int], list[int]]:
    """The ids that stand before a text, at least one, and its own. Raises EngineError for what cannot be read so.

    tenant: whose the prompt is, for whom its ids are remembered; of nobody's nothing is.
    """
    renderer, said = loaded.renderer, _ids(completion, loaded, aim)
    if isinstance(given, Prompt) and given.messages:
        if aim == "learn" and any(one.media for one in given.messages):
            raise EngineError("the text to learn: images or sounds stand before it. Leave them out: texts are learned.")
        before = renderer.ids(given, tenant)
    elif isinstance(given, tuple) and given:
        before = _known(given, loaded, aim)
    elif renderer.begin is not None:
        before = [renderer.begin]
    else:
        before, said = said[:1], said[1:]
    if not said:
        what = "nothing stands before its only token, and this model has none that begins a text"
        raise EngineError(f"the text to {aim}: {what}. Give a longer text, or a prompt.")
    check_reads(len(before), len(said), loaded.context_length, aim)
    return before, said


def _ids(completion: str | tuple[int, ...], loaded: Loaded, aim: str) -> list[int]:
    found = loaded.renderer.text_ids(completion) if isinstance(completion, str) else _known(completion, loaded, aim)
    if not found:
        raise EngineError(f"the text to {aim}: it has no tokens. Give a text.")
    return found


def _known(ids: tuple[int, ...], loaded: Loaded, aim: str) -> list[int]:
    """The ids, all of which the model knows. Raises EngineError."""
    vocab = loaded.vocabulary.size
    for one in ids:
        if not 0 <= one < vocab:
            problem = f"{one} is no token of this model, whose ids are 0 to {vocab - 1}"
            raise EngineError(f"the text to {aim}: {problem}. Give the ids of its own tokenizer.")
    return list(ids)
