"""Learning while serving: the steps of one optimiser on an adapter, through the very layers that serve.

The model runs as transformers defines it, with its own attention and without a cache. Its packed and quantised layers
stay as they are and give gradients to what is below them, so nothing is loaded twice and no weight of the base can
change.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vllm_flow.core.adapting import RATE, Adapted, AdaptRequest, Optimiser, Tuning
from vllm_flow.core.errors import EngineError
from vllm_flow.engines.transformers.adapters import Adapters
from vllm_flow.engines.transformers.forward import with_attention
from vllm_flow.engines.transformers.loaded import Loaded
from vllm_flow.engines.transformers.lowrank import LowRank, Pair, Ready, begun, learning, targeted
from vllm_flow.engines.transformers.recomputing import recomputed
from vllm_flow.engines.transformers.scoring import read_and_said

OPTIMISERS: Mapping[Optimiser, str] = {
    "adamw": "AdamW",
    "adam": "Adam",
    "sgd": "SGD",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
}
RECOMPUTED_FROM = 512
"""Tokens of a step that reads more are not all kept for the gradients: see recomputing.py."""


class Learner:
    """Makes the adapters of one model."""

    def __init__(self, model: Any, own_attention: str, base: str, folder: str | None, transposed: bool) -> None:
        self.adapters = Adapters(model, base, folder, transposed)
        self._model = model
        self._attention = own_attention
        self._base = base

    def laid(self, version: str) -> Ready:
        """Raises EngineError for a version that is not there, or another model's."""
        return self.adapters.ready(version)

    def begin(self, loaded: Loaded, request: AdaptRequest) -> Steps | Known:
        """Raises EngineError for lessons that cannot be read, options that do not fit, a version that is not there."""
        pieces = _pieces(loaded, request)
        steered = request.steered(len(pieces) * request.how.passes)
        rates = tuple(one.value for one in steered)
        kept = steered[-1] if request.how.moving.remembers else None
        version = _version(self._base, request, pieces, rates)
        if (known := self.adapters.known(version)) is not None:
            return Known(replace(known, kept=kept))
        self.adapters.check_takes()
        aim = Adapted(version, len(rates), sum(one.learned for one in pieces), (), rates, kept)
        return Steps(self._model, self._attention, self._start(request), request, pieces, aim, self.adapters)

    def close(self) -> None:
        self.adapters.close()

    def _start(self, request: AdaptRequest) -> LowRank:
        how, layers = request.how, targeted(self._model, request.how.targets)
        if request.after is None:
            return begun(layers, how.rank, how.alpha / how.rank, self._model.device, _seed)
        adapter, config = self.adapters.read(request.after.version)
        if (config["r"], config["lora_alpha"], set(adapter.pairs)) != (how.rank, how.alpha, set(layers)):
            was = f"rank {config['r']}, alpha {config['lora_alpha']:g} and {len(adapter.pairs)} layers"
            now = f"rank {how.rank}, alpha {how.alpha:g} and {len(layers)} layers are configured"
            raise EngineError(
                f"the conversation's adapter has {was}, but {now}. Set rank, alpha and targets back, or begin another "
                "conversation."
            )
        return adapter


class Known:
    """What was learned before need not be learned again."""

    done = True

    def __init__(self, adapted: Adapted) -> None:
        self._adapted = adapted

    def step(self) -> None:
        """Nothing is left."""

    def finish(self) -> Adapted:
        return self._adapted


class Piece:
    """What one step learns: ids [tokens] that are read, of which the last `learned` are learned."""

    def __init__(self, read: list[int], learned: int) -> None:
        self.ids = read
        self.learned = learned


class Steps:
    """One study of the model: ask for a step until it is done, then finish."""

    def __init__(  # noqa: PLR0917  all of it is what one study is about
        self,
        model: Any,
        attention: str,
        start: LowRank,
        request: AdaptRequest,
        pieces: list[Piece],
        aim: Adapted,
        adapters: Adapters,
    ) -> None:
        self._model, self._attention = model, attention
        own = {
            name: Pair(*(one.detach().clone().requires_grad_() for one in pair)) for name, pair in start.pairs.items()
        }
        self._adapter = LowRank(own, start.scale)
        self._matrices = [one for pair in own.values() for one in pair]
        self._request, self._pieces, self._aim, self._adapters = request, pieces, aim, adapters
        kind = getattr(torch.optim, OPTIMISERS[request.how.optimiser])
        self._optimiser = kind(self._matrices, lr=aim.learning_rates[0], weight_decay=request.how.weight_decay)
        self._losses: list[float] = []
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    @property
    def done(self) -> bool:
        return len(self._losses) == self._aim.steps

    def step(self) -> None:
        """Raises EngineError when the numbers run away."""
        number = len(self._losses)
        piece = self._pieces[number % len(self._pieces)]
        with torch.enable_grad(), self._through_layers(len(piece.ids)):
            loss = self._loss(piece)
            if not bool(loss.isfinite()):
                raise EngineError(f"{RATE}: the loss is not finite at step {number}. Choose smaller learning rates.")
            grads = torch.autograd.grad(loss, self._matrices, allow_unused=True)  # a layer may not be called
        for matrix, grad in zip(self._matrices, grads, strict=True):
            matrix.grad = grad
        for group in self._optimiser.param_groups:
            group["lr"] = self._aim.learning_rates[number]
        try:
            self._optimiser.step()
        except RuntimeError as cause:  # a rate that is no float32 once the optimiser has corrected it
            if "overflow" not in str(cause):
                raise
            raise EngineError(f"{RATE}: step {number} overflows ({cause}). Choose smaller learning rates.") from cause
        self._losses.append(float(loss.detach()))

    def finish(self) -> Adapted:
        request = self._request
        if not all(bool(matrix.isfinite().all()) for matrix in self._matrices):
            raise EngineError(
                f"{RATE}: the adapter is not finite after {self._aim.steps} steps. Choose smaller learning rates."
            )
        adapted = replace(self._aim, losses=tuple(self._losses))
        after = None if request.after is None else request.after.version
        self._adapters.keep(self._adapter, request.how, adapted, after)
        return adapted

    @contextmanager
    def _through_layers(self, tokens: int) -> Iterator[None]:
        """Meanwhile the model gives gradients; also when they are asked for, since what is recomputed needs it all."""
        saving = recomputed(self._model) if tokens > RECOMPUTED_FROM else nullcontext()
        with with_attention(self._model, self._attention), learning(self._model, self._adapter), saving:
            yield

    def _loss(self, piece: Piece) -> Tensor:
        model, last = self._model, len(piece.ids) - 1
        ids = torch.tensor([piece.ids], device=model.device)
        places = torch.arange(last - piece.learned, last, device=model.device)
        some = {"logits_to_keep": places} if self._keeps else {}
        try:
            logits: Tensor = model(input_ids=ids[:, :-1], use_cache=False, **some).logits[0]
        except AttributeError as cause:
            what = f"{type(model).__name__} looks into a layer that would get matrices ({cause})"
            raise EngineError(f"targets: {what}. Name others.") from cause
        logits = logits if self._keeps else logits[places]
        return cross_entropy(logits.float(), ids[0, -piece.learned :])


def _pieces(loaded: Loaded, request: AdaptRequest) -> list[Piece]:
    """What each step of a pass reads; every token of every lesson is learned once, after all that stands before it."""
    size, found = request.how.step_tokens, []
    for lesson in request.lessons:
        before, said = read_and_said(lesson.prompt, lesson.text, loaded, "learn")
        for start in range(0, len(said), size):
            end = min(len(said), start + size)
            found.append(Piece([*before, *said[:end]], end - start))
    if not found:
        raise EngineError("there is nothing to learn. Give a text.")
    return found


def _version(base: str, request: AdaptRequest, pieces: list[Piece], rates: tuple[float, ...]) -> str:
    """A hash of all that what is learned follows from."""
    options = {one.name: getattr(request.how, one.name) for one in fields(Tuning) if one.name != RATE}
    learned = [(piece.ids, piece.learned) for piece in pieces]
    after = None if request.after is None else request.after.version
    said = json.dumps([base, request.tenant, after, options, rates, learned])
    return hashlib.sha256(said.encode("ascii")).hexdigest()[:32]


def _seed(name: str) -> int:
    """Of a layer's first matrix: the same for every conversation."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "big") >> 1
