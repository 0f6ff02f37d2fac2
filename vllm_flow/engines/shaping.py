"""Shaping: of the tokens that may come next, only those are left with which an answer can still have its shape.

What a shape allows depends on what the answer has said and on nothing else, so an answer is the same in any company. A
token that ends the answer is allowed when the shape is complete, and never before. Imports no torch.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vllm_flow.core.errors import EngineError
from vllm_flow.core.grammar import grammar_of, problem_of
from vllm_flow.core.shape import Shape

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

KEPT = 64
"""So many shapes stay compiled: a run has few, and each takes a millisecond or so again."""

MARK = b"\x02"
"""A byte that no token has in it but its own."""


class Shaping:
    """One answer's way through its shape."""

    def __init__(self, matcher: LLMatcher, kind: str) -> None:
        self._matcher = matcher
        self._kind = kind
        self.allowed = b""
        """Of the next token: one bit for each id, the lowest first."""

    def look(self) -> None:
        """Find out what is allowed next. Raises EngineError where the library gives up."""
        self.allowed = self._matcher.compute_bitmask()
        self._check()

    def allows(self, token_id: int) -> bool:
        return bool(self.allowed[token_id // 8] >> token_id % 8 & 1)

    def take(self, token_id: int) -> None:
        self._matcher.consume_token(token_id)
        self._check()

    @property
    def over(self) -> bool:
        """Whether the shape is complete and nothing can follow."""
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            said = self._matcher.get_error().partition("\n")[0].rstrip(".")
            raise EngineError(f"the answer cannot be held to its {self._kind}: {said}. Write a simpler one.")


class Shapes:
    """What shapes mean in one model's tokens. Belongs to the engine's thread."""

    def __init__(self, tokenizer: Callable[[], LLTokenizer]) -> None:
        """tokenizer: makes it, which takes some tenths of a second and is needed by few; may raise EngineError."""
        self._make = tokenizer
        self._compiled: OrderedDict[Shape, LLMatcher] = OrderedDict()

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        return self._make()

    def begin(self, shape: Shape) -> Shaping:
        """For an answer that has said nothing yet. Raises EngineError for a shape that no answer can be held to."""
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(shape)
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(shape)
        return Shaping(self._compiled[shape].deep_copy(), shape.kind)

    def _compile(self, shape: Shape) -> LLMatcher:
        from llguidance import LLMatcher

        matcher = LLMatcher(self._tokenizer, grammar_of(shape), log_level=0)
        if matcher.is_error():
            said = problem_of(shape) or f"{matcher.get_error().partition(chr(10))[0].rstrip('.')}. Change it."
            raise EngineError(f"the answer's {shape.kind}: {said}")
        return matcher


def hf_tokenizer(tokenizer: Any, size: int, end_ids: Collection[int]) -> Callable[[], LLTokenizer]:
    """A tokenizer of transformers as llguidance reads one. size: how many logits the model has."""

    def make() -> LLTokenizer:
        from llguidance import LLTokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise _unshapable("has no fast tokenizer, so it is not known which bytes its tokens are")
        ends = _checked(end_ids)
        return LLTokenizer(backend.to_str(), n_vocab=max(size, len(tokenizer)), eos_token=ends)

    return make


class _Spelled:
    """What llguidance asks of a tokenizer that it does not know."""

    def __init__(
        self, tokens: Sequence[bytes], control: Sequence[int], end_id: int, encode: Callable[[bytes], list[int]]
    ) -> None:
        self.tokens = tokens
        self.special_token_ids = control
        self.eos_token_id = end_id
        self.bos_token_id = None
        self._encode = encode

    def __call__(self, text: bytes) -> list[int]:
        """Where only one text can come next, it comes in the tokens that it is mostly written in.

        Some tokenizers put a space before what begins a text, so it is encoded behind a mark, which is left out again.
        """
        ids = self._encode(MARK + text)
        spelled = (ids[start:] for start in range(len(ids)))
        found = next((some for some in spelled if b"".join(self.tokens[one] for one in some) == text), None)
        return found or [self.tokens.index(bytes([one])) for one in text]


def spelled_tokenizer(
    tokens: Sequence[bytes], control: Sequence[int], end_ids: Collection[int], encode: Callable[[bytes], list[int]]
) -> LLTokenizer:
    """From the bytes that each token stands for. control: ids of those that stand in no text."""
    from llguidance import LLTokenizer, TokenizerWrapper

    ends = _checked(end_ids)
    return LLTokenizer(TokenizerWrapper(_Spelled(tokens, control, ends[0], encode)), eos_token=ends)


def _checked(end_ids: Collection[int]) -> list[int]:
    if not end_ids:
        raise _unshapable("has no token that ends an answer")
    return sorted(end_ids)


def _unshapable(why: str) -> EngineError:
    return EngineError(f"the model {why}: no answer of it can be held to a shape. Choose another model.")
