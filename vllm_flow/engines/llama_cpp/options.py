"""What can be set on the llama_cpp engine. Imports neither torch nor llama.cpp."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any

from vllm_flow.core.errors import EngineError
from vllm_flow.core.moving import SIGNALS
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Capabilities, Engine
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.shape import KINDS
from vllm_flow.models.spec import Model

LIBRARY = "llama_cpp"
MISSING = "the package llama-cpp-python is not installed. Install it: pip install 'vllm-flow[llama-cpp]'."


@resource("engine/llama_cpp", shared=True)
@dataclass(frozen=True)
class LlamaCpp:
    """Runs a GGUF file in this process, with llama.cpp: quantised weights as they are, one request at a time.

    llama.cpp computes the logits; they are sampled as those of every engine here, so all parameters and seeds mean the
    same. Each answer starts from an empty cache: a request gives the same in any company.
    """

    model: Model
    """Its `gguf`, or the file in its `package`."""
    threads: Annotated[int, at_least(1)] | None = None
    """How many CPU threads compute; null leaves it to llama.cpp."""
    gpu_layers: Annotated[int, at_least(0)] = 0
    """How many layers a GPU computes, where llama.cpp was built for one."""
    max_context: Annotated[int, at_least(1)] = 8192
    """Tokens of prompt and answer together, of a model that reads more: the memory for them is taken at once."""

    def problems(self) -> Iterator[OptionProblem | str]:
        for one in self.model.changed():
            yield OptionProblem(("model", *one.path), one.problem)
        given = self.model
        if given.path is not None or (given.gguf is None and (given.hub is not None or given.package is None)):
            problem = "llama.cpp reads GGUF files alone. Give model.gguf=FILE and no path, or model=smollm2."
            yield OptionProblem(("model",), problem)
        if find_spec(LIBRARY) is None:
            yield MISSING

    def capabilities(self) -> Capabilities:
        names = frozenset(field.name for field in dataclasses.fields(Sampling))
        known: dict[str, Any] = dict.fromkeys(("logprobs", "likelihoods", "score", "measures", "moves", "tools"), True)
        return Capabilities(sampling=names, signals=SIGNALS, shapes=frozenset(KINDS), **known)

    def open(self) -> Engine:
        """Load the file, fetching it first if need be. Raises ModelError, and EngineError without the package."""
        if find_spec(LIBRARY) is None:
            raise EngineError(f"engine llama_cpp: {MISSING}")
        from vllm_flow.engines.llama_cpp.load import load
        from vllm_flow.engines.transformers.engine import TransformersEngine
        from vllm_flow.engines.transformers.loop import Limits

        return TransformersEngine(partial(load, self), Limits(rows=1))
