"""Failures: why a request cannot be answered, in one line with what would be right."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from vllm_flow.core.errors import ContextOverflow, EngineError, FlowError
from vllm_flow.core.shape import Shape

log = logging.getLogger("vllm_flow")


def check_room(prompt_tokens: int, max_tokens: int, context_length: int) -> None:
    """Raises ContextOverflow unless prompt and answer fit."""
    if prompt_tokens + max_tokens > context_length:
        raise ContextOverflow(
            f"the prompt has {prompt_tokens} tokens and sampling.max_tokens asks for {max_tokens}, but the model reads "
            f"{context_length}. Choose context=window, a smaller sampling.max_tokens, or a model that reads more."
        )


def check_reads(prompt_tokens: int, said_tokens: int, context_length: int, aim: str) -> None:
    """Raises ContextOverflow unless prompt and text fit; the last token need not be read. aim: such as `score`."""
    if prompt_tokens + said_tokens - 1 > context_length:
        raise ContextOverflow(
            f"the prompt has {prompt_tokens} tokens and the text to {aim} {said_tokens}, but the model reads "
            f"{context_length}. {aim.capitalize()} a shorter text, or choose a model that reads more."
        )


def finite(logits: Tensor) -> list[bool]:
    """Of each row of [rows, vocab]: whether it has a number to draw by, and neither NaN nor +inf."""
    found: list[bool] = logits.amax(-1).isfinite().tolist()  # NaN and +inf come through a maximum; all -inf is one
    return found


def check_numbers(numbers: bool, where: str, adapter: str | None = None) -> None:
    """Raises EngineError unless the logits are numbers. where: such as `generated token 3`."""
    if numbers:
        return
    if adapter is not None:
        what = f"with the adapter {adapter} the model's logits are not finite at {where}"
        raise EngineError(f"{what}. Choose smaller learning rates, and take turns back or begin another conversation.")
    raise EngineError(f"the model's logits are not finite at {where}. Choose dtype=float32, or other weights.")


def check_left(left: bool, index: int, shape: Shape | None) -> None:
    """Raises EngineError unless bias, bans, penalties and shape have left something. index: of the token, from 0."""
    if not left and shape is not None:
        what = f"bans leave nothing of what the answer's {shape.kind} allows at generated token {index}"
        raise EngineError(f"sampling: {what}. Remove some bad_words, lower min_tokens, or change the {shape.kind}.")
    if not left:
        raise EngineError(
            f"sampling: bans and penalties leave nothing to draw from at generated token {index}. Remove some "
            "bad_words, lower min_tokens, or choose smaller penalties."
        )


def no_tokens() -> EngineError:
    return EngineError("prompt: it has no tokens, and this model has none that begins a text. Say something.")


def refused_by_template(cause: Exception) -> EngineError:
    """cause: whatever the template raised, which is the model's own program and may refuse in its own way."""
    first = str(cause).partition("\n")[0].rstrip(".")
    return EngineError(
        f"prompt: the model's chat template refuses these messages: {first}. Leave out roles it does not know, "
        "such as system, and let user and assistant take turns."
    )


def out_of_memory(cause: Exception) -> bool:
    """Whether less would have gone well."""
    return isinstance(cause, torch.OutOfMemoryError) or "allocate memory" in str(cause)


def told(cause: Exception) -> FlowError:
    """Whatever went wrong with one request, as an error of ours."""
    if isinstance(cause, FlowError):
        return cause
    log.debug("a request failed", exc_info=cause)
    first = str(cause).strip().partition("\n")[0].rstrip(".")
    if out_of_memory(cause):
        return EngineError(f"out of memory: {first}. Choose a smaller model, a shorter context, or a smaller dtype.")
    what = f"the model failed: {type(cause).__name__}: {first}"
    return EngineError(f"{what}. Other requests go on; the log has the details at DEBUG.")
