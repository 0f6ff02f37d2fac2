"""The promised names of the package: exactly these, and none of them costs anything before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vllm_flow

PROMISED = [
    "Answer", "Audio", "Clock", "Completion", "ConfigError", "Context", "Engine", "Engines", "FlowError", "Image",
    "Item", "Marks", "Message", "Moving", "Now", "Prompt", "Result", "Sampling", "SamplingPlan", "Schedule", "Score",
    "Segment", "Session", "Share", "Steered", "Store", "Stream", "Text", "ToolError", "Turn", "TurnFailed", "Usage",
    "assistant", "build", "load", "metric", "node", "read_medium", "run_sweep", "schedule", "stage", "system", "tool",
    "user",
]  # fmt: skip


def test_the_names_are_the_promised_ones() -> None:
    assert vllm_flow.__all__ == PROMISED
    assert set(PROMISED) <= set(dir(vllm_flow))
    assert [name for name in PROMISED if getattr(vllm_flow, name).__module__.split(".")[0] != "vllm_flow"] == []


def test_a_type_checker_sees_the_same_names_in_the_same_places() -> None:
    tree = ast.parse(Path(vllm_flow.__file__).read_text(encoding="utf-8"))
    block = next(one for one in tree.body if isinstance(one, ast.If))
    seen = {alias.name: one.module for one in block.body if isinstance(one, ast.ImportFrom) for alias in one.names}
    assert sorted(seen) == PROMISED
    assert seen == {name: home for home, names in vllm_flow.HOMES.items() for name in names.split()}


def test_another_name_is_missing_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match=r"^module 'vllm_flow' has no attribute 'lode'$"):
        vllm_flow.lode  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_imports_nothing_else_and_a_session_no_torch() -> None:
    code = (
        "import sys, vllm_flow\n"
        "assert [name for name in sys.modules if name.startswith('vllm_flow')] == ['vllm_flow']\n"
        "vllm_flow.stage, vllm_flow.Completion\n"
        "heavy = {'hydra', 'omegaconf', 'yaml', 'torch', 'jsonschema', 'asyncio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "vllm_flow.load(overrides=['engine=echo'], record=False).run('Hello')\n"
        "assert not {'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
