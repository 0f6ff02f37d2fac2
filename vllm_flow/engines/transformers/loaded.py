"""What the loop runs: something that computes logits, and what it has to know beside. Imports no transformers.

So whatever reads tokens and gives logits is sampled, stopped and scheduled as a model of transformers is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Many
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor

from vllm_flow.core.adapting import Adapted, AdaptRequest
from vllm_flow.core.errors import EngineError
from vllm_flow.core.ledger import Measured
from vllm_flow.core.media import MediaKind
from vllm_flow.core.taking import NO_ADAPTERS
from vllm_flow.core.values import Prompt
from vllm_flow.engines.shaping import Shapes
from vllm_flow.engines.transformers.slots import Sequence
from vllm_flow.engines.transformers.vocabulary import Vocabulary

if TYPE_CHECKING:
    from vllm_flow.engines.transformers.senses.sight import Sight


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence that are to be read, after those that its cache holds."""

    sequence: Sequence
    tokens: Many[int]
    every: bool = False
    """Whether the logits after each of its tokens are wanted, and not only those after the last."""


def pieces(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """The stretches from start to stop that end at multiples of a size; the last one ends at stop."""
    while start < stop:
        end = min(stop, start - start % size + size)
        yield start, end
        start = end


class Unfit(Exception):
    """The model needs what the network of all requests does not do; the reason."""


class Reads(Protocol):
    """Reads tokens and gives logits."""

    @property
    def chunk(self) -> int | None:
        """Prompts are read in pieces that end at multiples of this many tokens; None: whole, and one at a time.

        A span may have several pieces, each to be read as it would be by itself.
        """
        ...

    @property
    def bytes_per_token(self) -> int:
        """Of keys and values; 0 when that is not known."""
        ...

    def sequence(self, prompt_tokens: int) -> Sequence: ...

    def begin_decoding(self, sequence: Sequence) -> None: ...

    def leave(self, sequence: Sequence) -> None: ...

    def read(self, spans: Many[Span]) -> Tensor:
        """The logits after the last token of each span, or each of its tokens if `every`, [those, vocab].

        In the type that the model computes them in: a table of float32 is made once, by whoever draws from it.

        The spans are then in the cache. With `chunk` None no span asks for every.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class Forks(Reads, Protocol):
    """Where one sequence can become two."""

    def fork(self, sequence: Sequence) -> Sequence:
        """Another that holds the same as this one, which decodes, and goes on by itself."""
        ...


class Renders(Protocol):
    """Turns messages into what the model reads."""

    def ids(self, prompt: Prompt, tenant: str | None = None) -> list[int]:
        """The prompt's token ids, at least one. Raises EngineError when the template refuses the messages.

        tenant: whose it is, for whom it is remembered; of nobody's nothing is.
        """
        ...

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        """What each part of the prompt takes of `ids`. Raises what that does."""
        ...

    def text(self, prompt: Prompt) -> str:
        """What the model reads, as text."""
        ...

    @property
    def begin(self) -> int | None:
        """The token that begins a text, if there is one."""
        ...

    def text_ids(self, text: str) -> list[int]:
        """The token ids of a text by itself, as what a model says."""
        ...

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, with the tokens that the tokenizer itself puts around one."""
        ...


class Laid(Protocol):
    """An adapter, ready to be laid beside the weights."""

    @property
    def bytes(self) -> int:
        """That it takes in memory, about."""
        ...

    def on(self) -> AbstractContextManager[None]:
        """Meanwhile all that the network reads is read with it."""
        ...


class Study(Protocol):
    """Something that is being learned, step by step; between two steps the model is as it was."""

    @property
    def done(self) -> bool: ...

    def step(self) -> None: ...

    def finish(self) -> Adapted: ...


class Learns(Protocol):
    """Makes adapters, and knows those that were made."""

    def laid(self, version: str) -> Laid:
        """Raises EngineError for a version that is not there."""
        ...

    def begin(self, loaded: Loaded, request: AdaptRequest) -> Study:
        """Raises EngineError for what cannot be learned."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Loaded:
    """A model ready to run, and what is known of it."""

    network: Reads
    """A model of transformers is in eval mode."""
    renderer: Renders
    decode: Callable[..., str]
    """Token ids to text, special tokens left out."""
    end_ids: frozenset[int]
    """Ids that end a sequence."""
    vocabulary: Vocabulary
    shapes: Shapes
    context_length: int
    facts: Mapping[str, Any]
    """For the record: JSON values."""
    own_attention: str = ""
    """What transformers calls the attention that its model has by itself."""
    learner: Learns | None = None
    """None of what cannot be adapted."""
    sight: Sight | None = None
    """None of what reads texts alone."""

    @property
    def media(self) -> frozenset[MediaKind]:
        """Which media it reads."""
        return self.sight.kinds if self.sight is not None else frozenset()


def learner_of(loaded: Loaded) -> Learns:
    """Raises EngineError when there is none."""
    if loaded.learner is None:
        raise EngineError(f"the engine '{loaded.facts['engine']}', as it is configured, {NO_ADAPTERS}")
    return loaded.learner
