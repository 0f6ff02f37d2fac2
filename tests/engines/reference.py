"""The definition of sampling in plain Python, one row at a time: what the vectorised sampler is held against."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from vllm_flow.core.sampling import Sampling

Words = Sequence[Sequence[int]]


def adjusted(
    logits: Sequence[float],
    sampling: Sampling,
    prompt: Sequence[int] = (),
    output: Sequence[int] = (),
    bad_words: Words = (),
    ends: Collection[int] = (),
    breakers: Collection[int] = (),
) -> list[float]:
    """Logits with bias, bans and penalties; texts of the sampling parameters are given as tokens."""
    found = list(logits)
    for token, bias in sampling.logit_bias.items():
        found[token] += bias
    for token in {*ends, *sampling.stop_token_ids}:
        found[token] += sampling.end_bias
    for *before, last in bad_words:
        if list(output)[len(output) - len(before) :] == before:
            found[last] = -math.inf
    if len(output) < sampling.min_tokens:
        for token in {*ends, *sampling.stop_token_ids}:
            found[token] = -math.inf
    for token in {*prompt, *output}:
        r = sampling.repetition_penalty
        found[token] = found[token] / r if found[token] > 0 else found[token] * r
    for token in set(output):
        found[token] -= sampling.presence_penalty + sampling.frequency_penalty * list(output).count(token)
    for token in range(len(found)) if sampling.dry_multiplier else ():
        length = repetition([*prompt, *output], token, breakers)
        if length >= sampling.dry_allowed_length:
            found[token] -= sampling.dry_multiplier * sampling.dry_base ** (length - sampling.dry_allowed_length)
    return found


def repetition(tokens: Sequence[int], token: int, breakers: Collection[int]) -> int:
    """How many tokens at the end, none of them a breaker, stand before an earlier `token` too; the most there are."""
    longest = 0
    for place, one in enumerate(tokens):
        for length in range(1, place + 1):
            end = tokens[len(tokens) - length :]
            if one == token and tokens[place - length : place] == end and not {token, *end} & set(breakers):
                longest = max(longest, length)
    return longest


def distribution(
    logits: Sequence[float], sampling: Sampling, prompt: Sequence[int] = (), output: Sequence[int] = (), **tokens: Words
) -> list[float]:
    """The probability of each token, over all that XTC's coin may say."""
    found = adjusted(logits, sampling, prompt, output, **tokens)
    order = sorted(range(len(found)), key=lambda token: (-found[token], token))
    if sampling.temperature == 0:
        return [float(token == order[0]) for token in range(len(found))]
    shares = cut({token: found[token] for token in order if found[token] > -math.inf}, sampling)
    excluded = without_top_choices(shares, sampling.xtc_threshold)
    often = sampling.xtc_probability
    return [(1 - often) * shares.get(one, 0.0) + often * excluded.get(one, 0.0) for one in range(len(found))]


def cut(logits: dict[int, float], sampling: Sampling) -> dict[int, float]:
    """What all cuts but XTC leave, as shares. logits: those that are finite, in order."""
    largest = max(logits.values())
    mean = sum(logits.values()) / len(logits)
    sigma = math.sqrt(sum((one - mean) ** 2 for one in logits.values()) / len(logits))
    reach = math.inf if sampling.top_n_sigma is None else sampling.top_n_sigma * sigma
    near = {token: one for token, one in logits.items() if one >= largest - reach}
    shares = renormalised({token: math.exp((one - largest) / sampling.temperature) for token, one in near.items()})
    least = min(sampling.epsilon_cutoff, max(shares.values()))
    shares = renormalised({token: share for token, share in shares.items() if share >= least})
    enough = sampling.min_p * max(shares.values())
    shares = renormalised({token: share for token, share in shares.items() if share >= enough})
    shares = renormalised(dict(list(shares.items())[: sampling.top_k]))
    shares = shares if sampling.top_p == 1 else until(sampling.top_p, shares)
    if sampling.typical_p == 1:
        return shares
    entropy = -sum(p * math.log(p) for p in shares.values() if p > 0)
    surprise = {token: -math.log(p) if p > 0 else math.inf for token, p in shares.items()}
    nearest = sorted(shares, key=lambda token: abs(surprise[token] - entropy))  # stable: of equals the more probable
    kept = until(sampling.typical_p, {token: shares[token] for token in nearest})
    return {token: kept[token] for token in shares if token in kept}


def until(mass: float, shares: dict[int, float]) -> dict[int, float]:
    """The first ones that together have this mass."""
    kept, total = {}, 0.0
    for token, share in shares.items():
        if total >= mass:
            break
        kept[token] = share
        total += share
    return renormalised(kept)


def without_top_choices(shares: dict[int, float], threshold: float) -> dict[int, float]:
    top = [token for token, share in shares.items() if share >= threshold]
    return renormalised({token: share for token, share in shares.items() if token not in top[:-1]})


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
