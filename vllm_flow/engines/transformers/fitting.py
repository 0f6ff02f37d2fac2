"""Which way a model can run: tried on the model itself, because no list of architectures would stay true.

`fitted` gives the fast way if its logits are those of transformers' own forward pass. `least_tokens` finds how many
tokens a call needs for a row's logits not to depend on what else is in it: measured, not promised by anybody's kernels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers.compiled import WHERE, Compiled
from vllm_flow.engines.transformers.lean import KIN, Lean
from vllm_flow.engines.transformers.loaded import Span, Unfit
from vllm_flow.engines.transformers.network import Network
from vllm_flow.engines.transformers.plain import PlainNetwork
from vllm_flow.engines.transformers.slots import Sequence
from vllm_flow.models.packed import Replaced, pack, unpack

log = logging.getLogger("vllm_flow")
HALF = 4
"""Tokens of a trial that are read as a prompt, and again as many as an answer."""
LEAST = (4, 8, 16)
"""Four rows are read in less time than one or two: the kernels are made for that."""
COMPANY = (1, 2, 5, 6, 29, 60)
"""How many other rows a row is read with, to see whether it notices."""
MOVING_ROPES = frozenset({"dynamic", "longrope"})
"""Their angles depend on the longest sequence in the call: on the company."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a model runs."""

    network: Network | PlainNetwork
    packed: Many[Replaced] = ()
    """The layers that are packed, as they were before."""
    why_plain: str = ""
    """Empty for the fast way."""

    def facts(self, compiled: bool, same: bool) -> dict[str, Any]:
        """For the record. compiled: whether decoding is. same: whether a row is the same in any company."""
        return {
            "packed_layers": len(self.packed),
            "batching": f"none: {self.why_plain}" if self.why_plain else "continuous",
            "compiled": compiled,
            "deterministic": same and not compiled,
        }


@torch.inference_mode()
def fitted(model: Any, *, lean: bool | None = None) -> Fit:
    """The fastest way that gives the model's own logits.

    lean: of a model that was tried before and runs the fast way, whether with the lean forward pass; then nothing is
    tried again.
    """
    if lean is not None:
        packed, network = pack(model, together=lean), Network(model, LEAST[0])
        network.lean = Lean(model, network.looks) if lean else None
        return Fit(network, packed)
    plain, before, replaced = PlainNetwork(model), model.config._attn_implementation, []
    wanted = plain.read([Span(plain.sequence(0), _ids(model, 2 * HALF))])[0]
    try:
        if rope := _moving_rope(model):
            raise Unfit(f"its positions are of the kind '{rope}', which depend on the longest sequence")
        replaced = pack(model, together=Lean.knows(model))
        return Fit(_proven(model, wanted), replaced)
    except Exception as error:  # whatever an unknown model's code raises
        log.debug("the plain path is taken", exc_info=True)
        unpack(replaced)
        model.set_attn_implementation(before)
        _check_goes_on(model, plain, wanted)
        reason = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
        return Fit(plain, why_plain=reason.partition("\n")[0])


def _proven(model: Any, wanted: Tensor) -> Network:
    """The fast network, its logits held against those of the plain one."""
    network = Network(model, LEAST[0])
    try:
        if not alike(_in_steps(model, network), wanted, model.dtype):
            raise Unfit("its attention does more than its interface says")
        if Lean.knows(model):
            network.lean = Lean(model, network.looks)
            if not alike(_in_steps(model, network), wanted, model.dtype):
                log.debug("the lean forward pass gives other logits")
                network.lean = None
    except Exception:
        network.close()
        raise
    return network


def compile_decoding(fit: Fit, model: Any) -> None:
    """Let rows that decode alone take compiled code. Raises ModelError where that cannot be, or gives other logits."""
    network = fit.network
    if not isinstance(network, Network) or network.lean is None or model.device.type != "cpu":
        problem = (
            f"only models of the kinds {', '.join(sorted(KIN))} are compiled, on cpu, not {model.config.model_type}"
        )
        raise ModelError(f"{WHERE}: {problem} on {model.device.type}. Choose false.")
    wanted = _in_steps(model, network)
    network.compiled = Compiled(model, network.looks, fit.packed)
    if not alike(_in_steps(model, network), wanted, model.dtype):
        raise ModelError(f"{WHERE}: the compiled code gives other logits. Choose false.")


def _check_goes_on(model: Any, plain: PlainNetwork, wanted: Tensor) -> None:
    """Raises ModelError for a model that forgets what it has read: it may take a cache that it is never given."""
    if not alike(_in_steps(model, plain), wanted, model.dtype):
        problem = f"{type(model).__name__} does not go on from a cache of transformers' usual kind"
        raise ModelError(f"model: {problem}. Choose another model, or another version of transformers.")


def _in_steps(model: Any, network: Network | PlainNetwork) -> Tensor:
    """The logits after the trial's tokens, the first half read as a prompt and the others one by one."""
    ids = _ids(model, 2 * HALF)
    sequence = network.sequence(HALF)
    found = network.read([Span(sequence, ids[:HALF])])
    network.begin_decoding(sequence)
    for token_id in ids[HALF:]:
        found = network.read([Span(sequence, [token_id])])
    network.leave(sequence)
    return found[0]


def alike(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    """Whether no more differs than another order of summation explains."""
    allowed = (1e-3 if dtype == torch.float32 else 0.1) * (float(wanted.abs().amax()) + 1.0)
    return bool((found - wanted).abs().amax() <= allowed)


@torch.inference_mode()
def least_tokens(network: Network) -> int | None:
    """The fewest tokens of a call with which a row's logits are bitwise the same in any company; None if none are."""
    for least in LEAST:
        network.least = least
        if _same_in_company(network):
            return least
    network.least = LEAST[0]
    return None


def _same_in_company(network: Network) -> bool:
    """Whether one row's logits, of a prompt and of the token after it, stay bitwise the same beside other rows."""
    prompt = _ids(network.model, HALF)

    def read(rows: list[Sequence], *tokens: list[int]) -> Tensor:
        return network.read([Span(row, tokens[place % len(tokens)]) for place, row in enumerate(rows)])[0]

    watched, again, *others = [network.sequence(HALF) for _ in range(2 + max(COMPANY))]
    prompts = [prompt, *(_ids(network.model, HALF, start) for start in range(1, 8))]
    same = torch.equal(read([watched], prompt), read([again, *others], *prompts))
    for row in (watched, again, *others):
        network.begin_decoding(row)
    alone = read([again], [prompt[0]])
    for count in COMPANY if same else ():
        found = read([watched, *others[:count]], [prompt[0]], [prompt[1]])
        same = same and torch.equal(found, alone)
        for row in (watched, *others[:count]):
            row.length = HALF
    for row in (watched, again, *others):
        network.leave(row)
    return same


def _ids(model: Any, count: int, start: int = 0) -> list[int]:
    vocab = int(model.config.get_text_config().vocab_size)
    return [(start * 7919 + place * 104_729 + 11) % vocab for place in range(count)]


def _moving_rope(model: Any) -> str:
    """The kind of the model's rotary positions if they depend on the company, or nothing."""
    config = model.config.get_text_config()
    given = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [one.get("rope_type", "") for one in (given, *given.values()) if isinstance(one, dict)]
    return next((kind for kind in kinds if kind in MOVING_ROPES), "")
