"""The definition of sampling in plain Python, one row at a time: what the vectorised sampler is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vllm_flow.core.sampling import Sampling


def penalised(
    logits: Sequence[float], sampling: Sampling, prompt: Sequence[int] = (), output: Sequence[int] = ()
) -> list[float]:
    adjusted = list(logits)
    for token in {*prompt, *output}:
        r = sampling.repetition_penalty
        adjusted[token] = adjusted[token] / r if adjusted[token] > 0 else adjusted[token] * r
    for token in set(output):
        adjusted[token] -= sampling.presence_penalty + sampling.frequency_penalty * list(output).count(token)
    return adjusted


def distribution(
    logits: Sequence[float], sampling: Sampling, prompt: Sequence[int] = (), output: Sequence[int] = ()
) -> list[float]:
    """The probability of each token."""
    adjusted = penalised(logits, sampling, prompt, output)
    order = sorted(range(len(adjusted)), key=lambda token: (-adjusted[token], token))
    if sampling.temperature == 0:
        return [float(token == order[0]) for token in range(len(adjusted))]
    shares = renormalised(
        {token: math.exp((adjusted[token] - adjusted[order[0]]) / sampling.temperature) for token in order}
    )
    shares = renormalised({t: p for t, p in shares.items() if p >= sampling.min_p * shares[order[0]]})
    shares = renormalised(dict(list(shares.items())[: sampling.top_k]))
    kept, total = {}, 0.0
    for token, share in shares.items():
        if total >= sampling.top_p and sampling.top_p < 1:
            break
        kept[token] = share
        total += share
    shares = renormalised(kept)
    return [shares.get(token, 0.0) for token in range(len(adjusted))]


def renormalised(shares: dict[int, float]) -> dict[int, float]:
    total = sum(shares.values())
    return {token: share / total for token, share in shares.items()}


def splitmix64(state: int, count: int) -> int:
    """Output number `count` (from 1) of Steele's generator, stepped one by one."""
    mask = 2**64 - 1
    value = 0
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        value = state
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        value ^= value >> 31
    return value
