"""How a model that sees or hears runs: in the batch where that gives its own logits, else by itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.errors import EngineError
from vllm_flow.engines.transformers.fitting import Fit, fitted
from vllm_flow.engines.transformers.loaded import Unfit
from vllm_flow.engines.transformers.network import Network
from vllm_flow.engines.transformers.senses.decoder import Decoder
from vllm_flow.engines.transformers.senses.reader import Reader
from vllm_flow.engines.transformers.senses.tower import Tower
from vllm_flow.engines.transformers.senses.trial import check, trials
from vllm_flow.engines.transformers.senses.whole import WholeNetwork
from vllm_flow.models.packed import unpack

log = logging.getLogger("vllm_flow")


@dataclass(frozen=True, slots=True)
class Senses:
    """What reads the media of one model."""

    reader: Reader
    tower: Tower


def senses_of(decoder: Decoder, processor: Any) -> Senses:
    reader = Reader(processor, decoder.whole.config.to_dict())
    return Senses(reader, Tower(decoder, reader))


def fitted_whole(decoder: Decoder, senses: Senses, *, lean: bool | None) -> Fit:
    """As `fitted`, of the whole model."""
    before = decoder.config._attn_implementation
    try:
        several = trials(decoder, senses.reader, senses.tower)
    except (Unfit, EngineError) as why:
        return _plain(decoder, str(why).rstrip("."))
    fit = fitted(decoder, lean=lean)
    if not isinstance(fit.network, Network):
        return _plain(decoder, fit.why_plain)
    try:
        check(fit.network, senses.tower, several, decoder.dtype)
    except Exception as why:  # whatever an unknown model's code raises
        log.debug("the plain path is taken", exc_info=True)
        fit.network.close()
        unpack(fit.packed)
        decoder.set_attn_implementation(before)
        return _plain(decoder, str(why).partition("\n")[0])
    decoder.whole.set_output_embeddings(decoder.lm_head)  # as it is packed: it would be kept twice
    return fit


def _plain(decoder: Decoder, why: str) -> Fit:
    return Fit(WholeNetwork(decoder.whole), why_plain=why)
