"""What an inference asks of an answer beside its prompt: numbers to keep of its tokens, and which texts it may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.adapting import Adapted
from vllm_flow.core.errors import shown
from vllm_flow.core.grammar import problem_of_regex, problem_of_text
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.resources import EngineOptions
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.schema import Schema
from vllm_flow.core.shape import KINDS, Shape
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Prompt, Request


@dataclass(frozen=True)
class Asking:
    """Options that every inference has."""

    logprobs: bool = False
    """Keep the log-probability of each generated token, and what the engine knows beside it."""
    top_logprobs: Annotated[int, at_least(0)] = 0
    """Keep so many of the most probable tokens at each place, too."""
    schema: Schema | None = None
    """The answer is JSON that is valid under this JSON Schema. Other stages find it parsed in the answer's `data`.

    Nothing of it is put into the prompt: say there what is wanted. Spaces within the JSON are few, numbers have up to
    six decimals, and no properties but those that are named are written.
    """
    choices: tuple[str, ...] | None = None
    """The answer is one of these texts. In YAML, yes, no and numbers are texts in quotation marks alone."""
    regex: str | None = None
    """The whole answer fits this regular expression."""

    def problems(self) -> Iterator[OptionProblem]:
        if self.top_logprobs and not self.logprobs:
            problem = f"{self.top_logprobs} does nothing by itself. Set `logprobs: true` beside it."
            yield OptionProblem(("top_logprobs",), problem)
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        for kind in given[1:]:
            yield OptionProblem((kind,), f"{' and '.join(given)} are given, and an answer has one shape. Keep one.")
        yield from self._wrong_choices(self.choices)
        if self.regex is not None and (problem := problem_of_regex(self.regex)):
            yield OptionProblem(("regex",), problem)

    @staticmethod
    def _wrong_choices(choices: tuple[str, ...] | None) -> Iterator[OptionProblem]:
        if choices == ():
            yield OptionProblem(("choices",), "there are none. Give some texts, or remove it.")
        for place, text in enumerate(choices or ()):
            if text in (choices or ())[:place]:
                yield OptionProblem(("choices", str(place)), f"{shown(text)} is there already. Remove it.")
            elif problem := problem_of_text(text):
                yield OptionProblem(("choices", str(place)), problem)

    @property
    def shape(self) -> Shape | None:
        if self.schema is None and self.choices is None and self.regex is None:
            return None
        return Shape(None if self.schema is None else self.schema.text, self.choices, self.regex)

    def request(self, prompt: Prompt, schedule: Schedule, adapter: Adapted | None) -> Request:
        numbers = (0, 0, self.logprobs, self.top_logprobs)
        return Request(prompt, schedule, *numbers, adapter=version_of(adapter), shape=self.shape)

    def unheld(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        """What an engine does not do of all this, as path and problem; the empty path stands for the node."""
        can, shape = engine.capabilities(), self.shape
        if self.logprobs and not can.logprobs:
            yield (), "the engine gives no log-probabilities. Remove `logprobs`, or choose another engine."
        if self.top_logprobs and can.logprobs and not can.likelihoods:
            yield (), "the engine lists no alternatives. Remove `top_logprobs`, or choose another engine."
        if shape is not None and shape.kind not in can.shapes:
            what = f"the engine holds no answer to a `{shape.kind}`"
            yield (), f"{what}. Remove it, or choose another engine, such as engine=transformers."


def version_of(adapter: Adapted | None) -> str | None:
    return None if adapter is None else adapter.version
