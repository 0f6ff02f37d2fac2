"""Inputs of a forward pass: what the caller gave, as tensors that fit together and fit the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vllm_flow.core.errors import ContextOverflow, EngineError
from vllm_flow.models.layers import parse_layers

Table = Tensor | Sequence[Sequence[int]]
"""Rows of numbers, all of one length."""
Layers = str | Iterable[int]


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """All on the CPU."""

    ids: Tensor
    """int64 [batch, tokens]."""
    mask: Tensor | None = None
    """bool [batch, tokens]: which are no padding; or [batch, 1, tokens, tokens]: what each (third axis) looks at."""
    positions: Tensor | None = None
    """int64 [batch, tokens]."""
    layers: tuple[int, ...] | None = None
    hidden_states: bool = False
    attentions: bool = False


def checked_ids(given: Table, vocab: int, context_length: int) -> Tensor:
    """int64 [batch, tokens]. Raises EngineError."""
    ids = _table(given, "ids")
    if ids.ndim != 2 or not ids.numel():
        right = "For one sequence put brackets around it." if ids.ndim == 1 else "Give at least one token a row."
        raise wrong("ids", f"it has the shape {list(ids.shape)}, but [batch, tokens] is needed. {right}")
    if beyond := _outside(ids, vocab):
        raise wrong("ids", f"{beyond} is no token of this model. Give numbers from 0 to {vocab - 1}.")
    if ids.shape[1] > context_length:
        problem = f"a row has {ids.shape[1]} tokens, but the model reads {context_length}. Give fewer."
        raise ContextOverflow(f"engine.forward: ids: {problem}")
    return ids


def checked_mask(given: Table | None, ids: Tensor) -> Tensor | None:
    """bool [batch, tokens] or [batch, 1, tokens, tokens]. Raises EngineError."""
    if given is None:
        return None
    rows, tokens = ids.shape
    mask = _table(given, "attention_mask")
    if mask.shape == (rows, tokens, tokens):
        mask = mask[:, None]
    if mask.shape not in ((rows, tokens), (rows, 1, tokens, tokens)):
        right = f"[{rows}, {tokens}] or [{rows}, 1, {tokens}, {tokens}]"
        raise wrong("attention_mask", f"it has the shape {list(mask.shape)}. For these ids it is {right}.")
    if other := _outside(mask, 2):
        raise wrong("attention_mask", f"there is {other} in it. Write 1 for what is looked at, and 0 for the rest.")
    return mask.bool()


def checked_positions(given: Table | None, ids: Tensor, context_length: int) -> Tensor | None:
    """int64 [batch, tokens]. Raises EngineError."""
    if given is None:
        return None
    positions = _table(given, "position_ids")
    if positions.shape != ids.shape:
        shapes = f"it has the shape {list(positions.shape)}, but ids has {list(ids.shape)}"
        raise wrong("position_ids", f"{shapes}. Give one for each token.")
    if beyond := _outside(positions, context_length):
        problem = f"{beyond} is no position of this model. Give numbers from 0 to {context_length - 1}."
        raise wrong("position_ids", problem)
    return positions


def checked_layers(given: Layers | None) -> tuple[int, ...] | None:
    """Numbers of layers, which the model may not have. Raises EngineError."""
    try:
        return parse_layers(given) if isinstance(given, str) else given if given is None else tuple(map(int, given))
    except ValueError as problem:
        raise wrong("layers", str(problem)) from None


def _table(given: Table, name: str) -> Tensor:
    try:
        table = torch.as_tensor(given).cpu()
    except (ValueError, TypeError, RuntimeError) as error:
        first = str(error).partition("\n")[0].rstrip(".")
        raise wrong(name, f"it is no table of whole numbers ({first}). Give rows of one length.") from None
    if table.numel() and (table.is_floating_point() or table.is_complex()):
        raise wrong(name, f"it holds numbers of the type {str(table.dtype).removeprefix('torch.')}. Give whole ones.")
    return table.long()


def _outside(table: Tensor, end: int) -> str:
    """The first number that is not from 0 to below `end`, or nothing."""
    others = table[(table < 0) | (table >= end)]
    return str(int(others[0])) if others.numel() else ""


def wrong(name: str, problem: str) -> EngineError:
    """The error for one of the arguments."""
    return EngineError(f"engine.forward: {name}: {problem}")
