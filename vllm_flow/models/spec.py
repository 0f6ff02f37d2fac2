"""Which model: its name and where its weights come from. Imports no torch.

A preset names one source, and a place on this machine beats it, so that `model.path=FOLDER` and `model.gguf=FILE` are
always the way to one's own weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.options import at_least
from vllm_flow.core.secrets import is_reference
from vllm_flow.models.packages import PACKAGES

BYTE_VOCABULARY = 260
"""256 bytes and four control tokens: what the tokenizer of a model with random weights knows."""


@dataclass(frozen=True)
class Architecture:
    """A Llama-like decoder with random weights and a byte-level tokenizer, built from these numbers alone."""

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

    def problems(self) -> list[str]:
        """Combinations that make no model."""
        found = []
        if self.hidden_size % self.heads:
            found.append(
                f"hidden_size is {self.hidden_size}, which {self.heads} heads cannot share evenly. Choose a multiple."
            )
        elif self.hidden_size // self.heads % 2:
            found.append(
                f"each head gets {self.hidden_size // self.heads} of hidden_size, but rotary positions need an even "
                f"number. Choose a multiple of {2 * self.heads}."
            )
        if self.kv_heads is not None and self.heads % self.kv_heads:
            found.append(f"heads is {self.heads}, which kv_heads={self.kv_heads} does not divide. Choose a divisor.")
        return found


@dataclass(frozen=True)
class Model:
    """A language model. Of several sources the first counts: path, gguf, package or hub, architecture.

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

    def problems(self) -> list[str]:
        """Combinations that name no model, or two."""
        found = [*self._source_problems()]
        if self.package is not None and self.package not in PACKAGES:
            close = nearest(self.package, PACKAGES)
            found.append(f"there is no packaged model '{self.package}'.{close} There are: {listed(PACKAGES)}.")
        if self.token is not None and not is_reference(self.token):
            found.append("the token is written out. Write ${secret:NAME} and set the environment variable NAME.")
        if self.architecture and self.context_length and self.context_length > self.architecture.max_context:
            found.append(
                f"context_length is {self.context_length}, but architecture.max_context is "
                f"{self.architecture.max_context}. Choose at most that."
            )
        return found

    def _source_problems(self) -> list[str]:
        if self.path is not None or self.gguf is not None:
            return []
        named = [name for name in ("package", "hub") if getattr(self, name) is not None]
        if len(named) > 1:
            return [f"{' and '.join(named)} both name weights. Keep one and set the other to null."]
        if not named and self.architecture is None and self.served is None:
            return ["nothing says where the weights come from. Give path, gguf, package, hub or architecture."]
        return []

    def weightless(self) -> list[str]:
        """For engines that read weights: why there are none to read."""
        if self.served is None or any((self.path, self.gguf, self.package, self.hub, self.architecture)):
            return []
        return ["it runs on a server, and no weights are named. Choose engine=openai, or give path, gguf or hub."]
