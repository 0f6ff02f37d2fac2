"""What can be set on the vllm engine. Imports neither torch nor vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Annotated

from vllm_flow.core.errors import EngineError
from vllm_flow.core.moving import SIGNALS
from vllm_flow.core.options import OptionProblem, above, at_least
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Capabilities, Engine
from vllm_flow.core.shape import KINDS
from vllm_flow.engines.openai.dialects import DIALECTS
from vllm_flow.engines.transformers.options import DType
from vllm_flow.models.spec import Model

LIBRARY = "vllm"
MISSING = "the package vllm is not installed. Install it: pip install 'vllm-flow[vllm]'."


@resource("engine/vllm", shared=True)
@dataclass(frozen=True)
class Vllm:
    """Runs a model in this process with vLLM, which batches many requests and samples in a way of its own.

    Parameters mean what they mean everywhere, but the noise is vLLM's: one seed gives another answer than on other
    engines. Its logits change a little with the company, so near ties can, too; tokens that tie at a cut all stay. An
    answer of a shape, or whose parameters move, is drawn from what our own sampler leaves, row by row, which takes
    longer.
    """

    model: Model
    """In safetensors; a GGUF file is converted first."""
    dtype: DType = "auto"
    """auto leaves it to vLLM, which goes by the weights; the record says what it chose."""
    compile: bool = False
    """Compile the model while it loads: that takes a minute or more, and decoding is faster."""
    max_context: Annotated[int, at_least(1)] = 8192
    """Tokens of prompt and answer together, of a model that reads more: one such answer must fit `kv_cache_gib`."""
    max_rows: Annotated[int, at_least(1)] = 256
    """How many answers are in the making at once; further requests wait."""
    kv_cache_gib: Annotated[float, above(0)] = 2.0
    """GiB of keys and values, of answers in the making and of earlier prompts; taken at once."""

    def problems(self) -> Iterator[OptionProblem | str]:
        for one in self.model.changed():
            yield OptionProblem(("model", *one.path), one.problem)
        if self.model.is_random:
            problem = "vLLM reads weights from files alone. Name some, as model.path, or choose engine=transformers."
            yield OptionProblem(("model", "architecture"), problem)
        for problem in self.model.weightless():
            yield OptionProblem(("model",), problem)
        if find_spec(LIBRARY) is None:
            yield MISSING

    def capabilities(self) -> Capabilities:
        """Those of a vLLM server, but with the tokenizer at hand, and our sampler where it is needed."""
        of_a_server = DIALECTS["vllm"].capabilities(seeds=True)
        shapes = frozenset(KINDS)
        return replace(of_a_server, counts=True, measures=True, moves=True, signals=SIGNALS, shapes=shapes)

    def open(self) -> Engine:
        """Load the weights, fetching them first if need be. Raises ModelError, and EngineError without the package."""
        if find_spec(LIBRARY) is None:
            raise EngineError(f"engine vllm: {MISSING}")
        from vllm_flow.engines.vllm.engine import VllmEngine
        from vllm_flow.engines.vllm.load import load

        return VllmEngine(partial(load, self))
