"""What can be set on the transformers engine. Imports no torch, so that `check` stays light."""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from vllm_flow.core.moving import SIGNALS
from vllm_flow.core.options import OptionProblem, above, at_least
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Capabilities, Engine, Foreseen
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.shape import KINDS
from vllm_flow.models.kernels import keep_fewer_kernels
from vllm_flow.models.senses import foreseen_senses
from vllm_flow.models.spec import Model

Device = Literal["auto", "cpu", "cuda", "mps"]
DType = Literal["auto", "float32", "bfloat16", "float16"]
Quantize = Literal["int4", "int8"]


@resource("engine/transformers", shared=True)
@dataclass(frozen=True)
class Transformers:
    """Runs a model in this process, with PyTorch and transformers."""

    model: Model
    device: Device = "auto"
    """auto takes the first there is of cuda, mps, cpu."""
    dtype: DType = "auto"
    """auto is bfloat16 on cuda that has it, float16 on mps and older cuda, float32 on cpu.

    On cpu bfloat16 decodes faster (SmolLM2: 28 ms a token, not 46), but only float32 promises `generate`'s tokens.
    """
    quantize: Quantize | None = None
    """Weights of 4 or 8 bits, the head's excepted, on cpu: less memory, faster for few rows, slower for many."""
    compile: bool = False
    """Decode a row that is alone with compiled code, on cpu; the first time takes a while and needs a C++ compiler.

    Keeps the layers' weights twice, unless they are quantised. The row rounds otherwise then than in company: not
    deterministic.
    """
    threads: Annotated[int, at_least(1)] | None = None
    """How many CPU threads compute; null leaves it to PyTorch."""
    deterministic: bool | None = None
    """A row's logits are bitwise the same alone and in any company. null: wherever this machine's kernels allow it."""
    max_rows: Annotated[int, at_least(1)] = 256
    """How many answers are in the making at once; further requests wait."""
    max_waiting: Annotated[int, at_least(1)] = 4096
    """How many requests wait in the engine; whoever sends more waits, too, and none is refused or overtaken."""
    prefill_tokens: Annotated[int, at_least(64)] = 512
    """Tokens of prompts, read in one step: the more, the sooner a long one is read, and the longer others wait."""
    kv_cache_gib: Annotated[float, above(0)] = 2.0
    """GiB of keys and values for the answers in the making; further requests wait."""
    prefix_cache_gib: Annotated[float, at_least(0)] = 0.5
    """GiB of keys and values of earlier prompts, for prompts that begin alike."""
    adapters: str | None = None
    """Folder for what conversations teach the model (`adapt/lora`); null keeps it until the engine closes."""

    def problems(self) -> list[OptionProblem]:
        found = [OptionProblem(("model",), problem) for problem in self.model.weightless()]
        if self.adapters is not None and not self.adapters.strip():
            found.append(OptionProblem(("adapters",), "it is empty. Name a folder, or set it to null."))
        if self.compile:
            against = {
                "deterministic=true": self.deterministic is True,
                f"device={self.device}": self.device not in {"auto", "cpu"}, "dtype=float16": self.dtype == "float16",
            }  # fmt: skip
            refused = [
                f"it does not go with {other}. Set one of them only." for other, is_set in against.items() if is_set
            ]
            found += [OptionProblem(("compile",), problem) for problem in refused]
        return found

    def capabilities(self) -> Capabilities:
        names = frozenset(field.name for field in dataclasses.fields(Sampling))
        adapts = not self.compile and self.model.layers is None
        lasting = self.adapters is not None
        known: dict[str, Any] = dict.fromkeys(("logprobs", "likelihoods", "score", "measures", "moves", "tools"), True)
        known |= {"shapes": frozenset(KINDS), "media": foreseen_senses(self.model)}
        return Capabilities(sampling=names, signals=SIGNALS, adapts=adapts, adapters_last=lasting, **known)

    def foresee(self) -> Foreseen:
        """What the model will need, on the CPU where `dtype` is auto. Raises ModelError."""
        from vllm_flow.engines.transformers.foresee import foresee

        return foresee(self.model, self.dtype, self.quantize)

    def open(self) -> Engine:
        """Load the weights, fetching them first if need be. Raises ModelError."""
        _spin_less(os.environ)
        keep_fewer_kernels(os.environ)
        with _heard_afterwards(), _imported_at_once():
            from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401  part of what takes long

            from vllm_flow.engines.transformers.engine import TransformersEngine
            from vllm_flow.engines.transformers.load import load
            from vllm_flow.engines.transformers.loop import Limits

        kv_bytes, prefix_bytes = (int(gib * 2**30) for gib in (self.kv_cache_gib, self.prefix_cache_gib))
        room = {"kv_bytes": kv_bytes, "prefix_bytes": prefix_bytes, "waiting": self.max_waiting}
        limits = Limits(self.max_rows, self.prefill_tokens, **room)
        numbers = (self.device, self.dtype, self.deterministic, self.quantize, self.compile)
        loading = partial(load, self.model, *numbers, self.adapters)
        return TransformersEngine(loading, limits, self.threads)


def _spin_less(environment: MutableMapping[str, str]) -> None:
    """Let threads that wait for each other give way sooner; read by GNU OpenMP when PyTorch is first imported.

    Thirty times as long is its default: beside another program that computes, a run took 42 s instead of 15. On a quiet
    machine decoding is as fast. Whoever has said how threads are to wait, or has imported PyTorch, is left alone.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", "10000")


@contextmanager
def _heard_afterwards() -> Iterator[None]:
    """Puts Ctrl-C off: raised while PyTorch is imported, it can meet code that allows no exception, and abort all."""
    if threading.current_thread() is not threading.main_thread():  # only that one hears signals
        yield
        return
    heard: list[int] = []
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    usual = {number: handler for number, handler in usual.items() if callable(handler)}
    for number in usual:
        signal.signal(number, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


@contextmanager
def _imported_at_once() -> Iterator[None]:
    """Without looking for garbage while the libraries are imported, nor ever among what they leave.

    Every import adds to the objects that Python looks through, some 700,000 in the end, and nothing in them is garbage:
    a fifth of the time that importing takes. Who has switched the collector off, or has imported them, is left alone.
    """
    if "transformers.modeling_utils" in sys.modules or not gc.isenabled():
        yield
        return
    gc.collect()  # what is garbage now would never be looked at again either
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
