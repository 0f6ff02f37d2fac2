"""Which model: its name and where its weights come from. Imports no torch.

A preset names one source, and a place on this machine beats it, so that `model.path=FOLDER` and `model.gguf=FILE` are
always the way to one's own weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.secrets import is_reference
from vllm_flow.core.values import nothing
from vllm_flow.models.adapter import find_adapter
from vllm_flow.models.families import FAMILIES, OPTIONS, FamilyName
from vllm_flow.models.layers import check_layers, parse_layers
from vllm_flow.models.packages import MODELS

BYTE_VOCABULARY = 260
"""256 bytes and four control tokens: what the tokenizer of a model with random weights knows."""


@dataclass(frozen=True)
class Architecture:
    """A decoder with random weights and a byte-level tokenizer, built from these numbers alone."""

    hidden_size: Annotated[int, at_least(2)]
    layers: Annotated[int, at_least(1)]
    heads: Annotated[int, at_least(1)]
    kv_heads: Annotated[int, at_least(1)] | None = None
    """Heads of keys and values, shared by groups of query heads; null: as many as `heads`."""
    vocab_size: Annotated[int, at_least(BYTE_VOCABULARY)] = BYTE_VOCABULARY
    """Ids from 260 on have no text."""
    max_context: Annotated[int, at_least(1)] = 2048
    """Tokens of prompt and answer together."""
    intermediate_size: Annotated[int, at_least(1)] | None = None
    """Width of the feed-forward layers; null: four times `hidden_size`."""
    seed: Annotated[int, at_least(0)] = 0
    """Equal numbers give equal weights."""
    family: FamilyName = "llama"
    """Whose layers it has."""
    head_dim: Annotated[int, at_least(1)] | None = None
    """Width of a head; null: `hidden_size` over `heads`."""
    config: Mapping[str, Any] = field(default_factory=nothing)
    """More of what transformers' configuration of the family has, such as `{sliding_window: 64}`."""

    def problems(self) -> list[str]:
        """Combinations that make no model."""
        family = FAMILIES[self.family]
        found = [*self._head_problems(family.rotary)]
        if self.kv_heads is not None and self.heads % self.kv_heads:
            found.append(f"heads is {self.heads}, which kv_heads={self.kv_heads} does not divide. Choose a divisor.")
        elif self.kv_heads not in (None, self.heads) and not family.kv_heads:
            found.append(f"every head of a {self.family} has its own keys and values. Set kv_heads to null.")
        if self.head_dim is not None and not family.head_dim:
            found.append(f"the heads of a {self.family} share hidden_size evenly. Set head_dim to null.")
        for name in self.config:
            if option := OPTIONS.get(name):
                found.append(f"config names {name}, which is an option of its own. Write {option} beside it.")
        return found

    def _head_problems(self, rotary: bool) -> Iterator[str]:
        if self.head_dim is not None:
            if rotary and self.head_dim % 2:
                yield f"head_dim is {self.head_dim}, but rotary positions need an even number. Choose one."
        elif self.hidden_size % self.heads:
            yield f"hidden_size is {self.hidden_size}, which {self.heads} heads cannot share evenly. Choose a multiple."
        elif rotary and self.hidden_size // self.heads % 2:
            yield (
                f"each head gets {self.hidden_size // self.heads} of hidden_size, but rotary positions need an even "
                f"number. Choose a multiple of {2 * self.heads}."
            )


@dataclass(frozen=True)
class Model:
    """A language model. Of several sources the first counts: path, gguf, hub, package, architecture.

    One that a server runs has no weights here, and `served` alone names it.
    """

    name: str
    """What reports call it."""
    path: str | None = None
    """A folder with config.json, tokenizer and .safetensors, as `save_pretrained` writes it."""
    gguf: str | None = None
    """A .gguf file; converted once into the cache, at four bytes a parameter."""
    package: str | None = None
    """Weights from the package index, by the name they have in the table."""
    hub: str | None = None
    """A model of the Hugging Face hub, such as `Qwen/Qwen2.5-0.5B-Instruct`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null: its main branch. What has been fetched is not asked for again."""
    token: str | None = None
    """`${secret:NAME}`: the environment variable with the hub's access token."""
    served: str | None = None
    """What a server calls it that runs it for us; null: its name on the hub."""
    architecture: Architecture | None = None
    """Random weights; for tests, for timings and for training from nothing."""
    context_length: Annotated[int, at_least(1)] | None = None
    """Tokens of prompt and answer together, if fewer than the model reads."""
    layers: str | None = None
    """Which decoder layers run, such as `0-11,20-29`: numbers from 0, in the order written; null: all.

    A layer named twice runs twice. Those left out take no memory and no time; the record says what was saved.
    """
    adapter: str | None = None
    """A folder with a LoRA, as peft writes it; merged into the weights. Needs `vllm-flow[adapt]`."""

    @property
    def is_random(self) -> bool:
        """Whether its weights are made from `architecture`, since nothing names others."""
        return self.architecture is not None and not (self.path or self.gguf or self.package or self.hub)

    def problems(self) -> list[str | OptionProblem]:
        """Combinations that name no model, or two."""
        found: list[str | OptionProblem] = [
            *self._source_problems(),
            *self._layer_problems(),
            *self._adapter_problems(),
        ]
        if self.package is not None and self.package not in MODELS:
            close = nearest(self.package, MODELS)
            found.append(f"there is no packaged model '{self.package}'.{close} There are: {listed(MODELS)}.")
        if self.token is not None and not is_reference(self.token):
            found.append("the token is written out. Write ${secret:NAME} and set the environment variable NAME.")
        if self.architecture and self.context_length and self.context_length > self.architecture.max_context:
            found.append(
                f"context_length is {self.context_length}, but architecture.max_context is "
                f"{self.architecture.max_context}. Choose at most that."
            )
        return found

    def _layer_problems(self) -> list[OptionProblem]:
        if self.layers is None:
            return []
        try:
            layers = parse_layers(self.layers)
            if self.is_random and self.architecture is not None:
                check_layers(layers, self.architecture.layers)
        except ValueError as problem:
            return [OptionProblem(("layers",), str(problem))]
        return []

    def _adapter_problems(self) -> list[OptionProblem]:
        if self.adapter is None:
            return []
        try:
            find_adapter(self.adapter)
        except ValueError as problem:
            return [OptionProblem(("adapter",), str(problem))]
        return []

    def _source_problems(self) -> list[str]:
        sources = (self.path, self.gguf, self.hub, self.package, self.architecture, self.served)
        if all(one is None for one in sources):
            return ["nothing says where the weights come from. Give path, gguf, package, hub or architecture."]
        return []

    def changed(self) -> list[OptionProblem]:
        """For engines that take weights as they are: what would change them."""
        problem = "this engine takes the model as it is. Leave it out, or choose engine=transformers."
        return [OptionProblem((name,), problem) for name in ("layers", "adapter") if getattr(self, name) is not None]

    def weightless(self) -> list[str]:
        """For engines that read weights: why there are none to read."""
        if self.served is None or any((self.path, self.gguf, self.package, self.hub, self.architecture)):
            return []
        return ["it runs on a server, and no weights are named. Choose engine=openai, or give path, gguf or hub."]
