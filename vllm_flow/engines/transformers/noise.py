"""Counter-based Gumbel noise: a token's noise is a function of (seed, index of the token, token id) alone.

So a draw does not depend on who shares the batch, on the order of requests, or on which tokens a cut has removed, and
points of a sweep that share a seed share their noise.

Source: the generator is SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators",
doi:10.1145/2660193.2660195). The stream of one generated token starts at `key(seed, index)`; token id i takes the
stream's output number i+1.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
COIN = 0x5C4D1B7A0E9F2635
"""Any constant: it sets the stream of coins apart from those of token noise."""
STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def mix64(value: int) -> int:
    """SplitMix64's output function, on one integer of 64 bits."""
    for shift, factor in STEPS:
        value = ((value ^ (value >> shift)) * factor) & MASK
    return value ^ (value >> 31)


def key(seed: int, index: int) -> int:
    """Where the stream of the generated token with this index (from 0) starts; 64 bits."""
    return mix64((seed + GAMMA * (index + 1)) & MASK)


def coin(seed: int, index: int) -> float:
    """A uniform number strictly inside (0, 1) for the generated token with this index, apart from all token noise."""
    return ((key(mix64(seed ^ COIN), index) >> 12) + 0.5) * 2.0**-52  # as in `uniforms`


def hashes(keys: Tensor, ids: Tensor) -> Tensor:
    """Output number id+1 of the stream of each row's key, as int64 bit patterns.

    keys: int64 [rows, 1]. ids: int64, broadcastable to [rows, n]. Returns [rows, n].
    """
    value = keys + signed(GAMMA) * (ids + 1)  # int64 wraps: arithmetic modulo 2^64
    for shift, factor in STEPS:
        value.bitwise_xor_(_shifted(value, shift)).mul_(signed(factor))
    return value.bitwise_xor_(_shifted(value, 31))


def uniforms(bits: Tensor) -> Tensor:
    """float64 strictly inside (0, 1) from int64 bit patterns.

    The upper 52 bits k give (k + 1/2) / 2^52. Each step is exact: k + 1/2 has 53 significant bits, which is all that a
    float64 holds. One bit more, or float32, would round the largest to 1, whose noise is infinite.
    """
    return _shifted(bits, 12).to(torch.float64).add_(0.5).mul_(2.0**-52)


def gumbel(keys: Tensor, ids: Tensor) -> Tensor:
    """Standard Gumbel noise, float64 [rows, n], for the token ids of each row. Arguments as for `hashes`."""
    return uniforms(hashes(keys, ids)).log_().neg_().log_().neg_()


def signed(value: int) -> int:
    """The int64 with the bits of an unsigned 64-bit integer."""
    return value - (1 << 64) if value >> 63 else value


def _shifted(value: Tensor, count: int) -> Tensor:
    """Logical shift to the right; torch's own keeps the sign."""
    return (value >> count).bitwise_and_((1 << (64 - count)) - 1)
