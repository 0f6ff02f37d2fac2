from __future__ import annotations

import math

import torch

from vllm_flow.engines.transformers import noise

from .reference import splitmix64

EXTREMES = torch.tensor([[0, -1, 1 << 62, noise.signed(1 << 63), noise.signed((1 << 64) - 4096)]])


def test_the_generator_is_splitmix64():
    # The first outputs of the published C program for the seed 1234567.
    assert [splitmix64(1234567, n) for n in (1, 2, 3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
    assert noise.hashes(torch.tensor([[1234567]]), torch.arange(3)).tolist() == [
        [noise.signed(splitmix64(1234567, n)) for n in (1, 2, 3)]
    ]


def test_a_key_is_output_number_index_plus_one_of_the_seed():
    for seed in (0, 1, 2**63, 2**64 - 1):
        assert [noise.key(seed, index) for index in range(4)] == [splitmix64(seed, n) for n in range(1, 5)]


def test_noise_equals_the_formula_in_plain_python():
    seed, index = 0xDEADBEEFCAFEF00D, 7
    found = noise.gumbel(torch.tensor([[noise.signed(noise.key(seed, index))]]), torch.tensor([[0, 5, 99]]))
    for token, value in zip((0, 5, 99), found[0].tolist(), strict=True):
        uniform = ((splitmix64(noise.key(seed, index), token + 1) >> 12) + 0.5) * 2.0**-52
        assert math.isclose(value, -math.log(-math.log(uniform)), rel_tol=1e-12)


def test_uniforms_of_extreme_bits_are_exact_and_strictly_inside():
    values = noise.uniforms(EXTREMES)[0].tolist()
    assert values[:4] == [2.0**-53, 1 - 2.0**-53, 0.25 + 2.0**-53, 0.5 + 2.0**-53]
    assert 0 < min(values) < max(values) < 1


def test_noise_of_extreme_bits_is_finite():
    values = noise.uniforms(EXTREMES).log().neg().log().neg()
    assert bool(values.isfinite().all())
    assert abs(values[0, 1].item() - 53 * math.log(2)) < 1e-9


def test_a_hundred_million_uniforms_would_be_as_even_as_these_million():
    keys = torch.tensor([[noise.signed(noise.key(3, 0))]])
    values = noise.uniforms(noise.hashes(keys, torch.arange(1_000_000)))
    counts = torch.histc(values, bins=100, min=0, max=1)
    assert float(((counts - 10_000) ** 2 / 10_000).sum()) < 190  # chi-square, 99 degrees: exceeded once in 10^7
    assert abs(float(noise.gumbel(keys, torch.arange(1_000_000)).mean()) - 0.5772157) < 0.006


def test_a_coin_is_uniform_and_apart_from_all_token_noise():
    for seed, index in ((0, 0), (2**64 - 1, 3), (11, 2**20)):
        state = splitmix64(splitmix64((seed ^ noise.COIN) - noise.GAMMA, 1), index + 1)
        assert noise.coin(seed, index) == ((state >> 12) + 0.5) * 2.0**-52
    coins = torch.tensor([noise.coin(seed, seed % 7) for seed in range(20_000)], dtype=torch.float64)
    counts = torch.histc(coins, bins=50, min=0, max=1)
    assert float(((counts - 400) ** 2 / 400).sum()) < 130  # chi-square, 49 degrees: exceeded once in 10^9
    keys = torch.tensor([[noise.signed(noise.key(seed, seed % 7))] for seed in range(20_000)])
    tokens = noise.uniforms(noise.hashes(keys, torch.arange(20)))
    together = torch.corrcoef(torch.cat([coins[:, None], tokens], dim=1).T)[0, 1:]
    assert float(together.abs().max()) < 0.04  # 5.6 standard errors


def test_a_coin_of_extreme_bits_is_strictly_inside(monkeypatch):
    for bits, value in ((0, 2.0**-53), (noise.MASK, 1 - 2.0**-53)):
        monkeypatch.setattr(noise, "key", lambda *_, bits=bits: bits)
        assert noise.coin(5, 5) == value
