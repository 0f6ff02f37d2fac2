"""Decoding one request: prefill, then one token at a time, with the model's own KV cache."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from vllm_flow.core.errors import ContextOverflow, EngineError
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.values import Finish, FinishReason, Request, Token, Usage
from vllm_flow.engines.transformers.load import Loaded
from vllm_flow.engines.transformers.sampler import choose, penalises
from vllm_flow.engines.transformers.text import TextStream


def answer(loaded: Loaded, request: Request) -> Iterator[Token]:
    """The tokens of one answer, as they are made. Raises EngineError."""
    limits = request.schedule.at(0)
    text = TextStream(loaded.decode, limits.stop)
    prompt = loaded.renderer.ids(request.prompt)
    check_room(len(prompt), limits.max_tokens, loaded.context_length)
    cache = DynamicCache(config=loaded.model.config)
    output: list[int] = []
    unread: Sequence[int] = prompt
    for index in range(limits.max_tokens):
        logits = next_logits(loaded.model, cache, unread)
        check_numbers(logits, index)
        token_id = draw(logits, request.schedule.at(index), request.seed, prompt, output)
        logprob = float(logits.log_softmax(-1)[0, token_id]) if request.logprobs else None
        output.append(token_id)
        ended = token_id in loaded.end_ids
        said = "" if ended else text.push(token_id)
        if ended or text.stopped or len(output) == limits.max_tokens:
            reason: FinishReason = "stop" if ended or text.stopped else "length"
            rest = "" if text.stopped else text.flush()
            # The text held back may turn out to hold a whole stop string.
            reason = "stop" if text.stopped else reason
            yield Token(token_id, said + rest, logprob, Finish(reason, Usage(len(prompt), len(output))))
            return
        yield Token(token_id, said, logprob)
        unread = [token_id]


@torch.inference_mode()
def next_logits(model: Any, cache: DynamicCache, unread: Sequence[int]) -> Tensor:
    """Read some tokens after those in the cache: the logits of the token that follows, float32 [1, vocab]."""
    ids = torch.tensor([unread], device=model.device)
    takes = inspect.signature(model.forward).parameters
    own = {"cache" if "cache" in takes else "past_key_values": cache}  # the older name, until transformers 5.24
    if "logits_to_keep" in takes:
        own["logits_to_keep"] = 1
    logits: Tensor = model(input_ids=ids, use_cache=True, **own).logits
    return logits[:, -1].float()


@torch.inference_mode()
def draw(logits: Tensor, sampling: Sampling, seed: int, prompt: Sequence[int], output: Sequence[int]) -> int:
    """The next token id after `prompt` and `output`, from logits [1, vocab]."""
    counts: dict[str, Tensor] = {}
    if penalises(sampling):
        for name, ids in (("prompt_counts", prompt), ("output_counts", output)):
            counts[name] = torch.tensor(ids, dtype=torch.int64).bincount(minlength=logits.shape[-1])[None]
    return int(choose(logits, [sampling], [seed], [len(output)], **counts))


def check_room(prompt_tokens: int, max_tokens: int, context_length: int) -> None:
    """Raises ContextOverflow unless prompt and answer fit."""
    if prompt_tokens + max_tokens > context_length:
        raise ContextOverflow(
            f"the prompt has {prompt_tokens} tokens and sampling.max_tokens asks for {max_tokens}, but the model reads "
            f"{context_length}. Choose context=window, a smaller sampling.max_tokens, or a model that reads more."
        )


def check_numbers(logits: Tensor, index: int) -> None:
    """Raises EngineError for logits from which nothing can be drawn."""
    if not bool(logits.amax().isfinite()):  # NaN and +inf come through a maximum; all -inf is one
        raise EngineError(
            f"the model's logits are not finite at generated token {index}. Choose dtype=float32, or other weights."
        )
