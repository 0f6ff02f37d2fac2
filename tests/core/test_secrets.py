"""Secrets: a reference is looked up where it is used, and nothing ever repeats the secret itself."""

from __future__ import annotations

import pytest

from vllm_flow.core.errors import FlowError
from vllm_flow.core.secrets import is_reference, reveal


def test_a_reference_is_the_environment_variable_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOW_TEST_TOKEN", "s3cret")
    assert reveal("${secret:FLOW_TEST_TOKEN}") == "s3cret"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("FLOW_TEST_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("FLOW_TEST_TOKEN", value)
    with pytest.raises(FlowError) as caught:
        reveal("${secret:FLOW_TEST_TOKEN}")
    assert str(caught.value) == (
        "${secret:FLOW_TEST_TOKEN}: the environment variable FLOW_TEST_TOKEN is not set. Set it to the secret's value."
    )


def test_a_secret_that_is_written_out_is_refused_and_not_repeated() -> None:
    with pytest.raises(FlowError) as caught:
        reveal("hf_abcdef")
    assert str(caught.value) == (
        "a secret is written out here. Write ${secret:NAME} and set the environment variable NAME."
    )


def test_only_a_whole_reference_is_one() -> None:
    assert is_reference("${secret:HF_TOKEN}")
    for text in ("hf_abcdef", "x${secret:A}", "${secret:A}\n", "${secret:}", "${secret:1A}", "${env:A}"):
        assert not is_reference(text)
