from __future__ import annotations

import dataclasses

import pytest

from vllm_flow.core.options import build, written
from vllm_flow.core.sampling import FrozenDict, Sampling, in_force, unsupported


def test_sampling_has_a_hash_whatever_mapping_its_bias_is_given_as():
    one, other = Sampling(logit_bias={3: 1.0, 5: -2}), Sampling(logit_bias=FrozenDict({5: -2.0, 3: 1.0}))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Sampling(logit_bias={3: 1.0})
    assert dataclasses.replace(Sampling(), logit_bias={3: 1.0, 5: -2.0}) == one
    assert repr(one.logit_bias) == "{3: 1.0, 5: -2}"


def test_a_bias_cannot_be_changed_not_even_from_where_it_came():
    given = {3: 1.0}
    sampling = Sampling(logit_bias=given)
    given[3] = 2.0
    assert sampling.logit_bias[3] == 1.0
    with pytest.raises(TypeError, match=r"does not support item assignment$"):
        sampling.logit_bias[3] = 2.0  # type: ignore[index]


def test_a_bias_is_written_as_a_mapping_and_read_again_also_with_keys_in_digits():
    sampling = Sampling(logit_bias={3: 1.0})
    assert written(sampling, defaults=False) == {"logit_bias": {3: 1.0}}
    assert type(written(sampling)["logit_bias"]) is dict
    assert build(Sampling, {"logit_bias": {"3": 1}}) == build(Sampling, {"logit_bias": {3: 1.0}}) == sampling


def test_in_force_is_what_is_not_neutral():
    assert in_force(Sampling()) == {}
    assert in_force(Sampling(logit_bias={}, typical_p=0.9, top_n_sigma=1.0)) == {"typical_p": 0.9, "top_n_sigma": 1.0}
    assert unsupported(Sampling(min_tokens=1, n=2), ["top_p"]) == ["min_tokens"]
