"""Without lm-eval its adapter says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest


def test_a_missing_harness_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("vllm_flow.adapters.lm_eval", "lm_eval"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("vllm_flow.adapters.lm_eval")
    assert str(caught.value) == "the package lm-eval is not installed. Install it: pip install 'vllm-flow[eval]'."
