"""A sweep that needs no model: a stage that is right the more often the colder it is, and says hostile things."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

NOISE = '''"""Noise: answers whose quality depends on the temperature."""

import hashlib
from dataclasses import dataclass, replace

from vllm_flow import Completion, SamplingPlan, Turn, stage


def chance(*key: object) -> float:
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big") / 2**32


@stage("edit/noise")
@dataclass(frozen=True)
class Noise:
    """The reply, and whether it knows the answer."""

    def run(self, reply: Completion, turn: Turn, sampling: SamplingPlan) -> Completion:
        right = chance(turn.conversation) < 0.95 - 0.4 * sampling.numbers.temperature
        said = turn.conversation.split("#")[0] if right else "</script><script>alert(1)</script>"
        return replace(reply, text=f"{reply.text} The answer is {said}.")
'''
PIPELINE = """# @package _global_
# Noisy.
defaults: [dialogue, _self_]
graph:
  noisy: {use: edit/noise}
output: noisy
"""
PROMPTS = 20
TEMPERATURES = ("0", "0.9", "1.8")
WORDS = (
    "-m", "pipeline=noisy", "engine=echo", "context=full", "metrics=contains", "input.path=rows.jsonl",
    f"sampling.temperature={','.join(TEMPERATURES)}", "sweep.baseline={sampling.temperature:0.9}", "sweep.repeat=2",
    "hydra.sweep.dir=sweep",
)  # fmt: skip


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a sweep in `sweep`: three temperatures, the second the baseline, 20 prompts, two answers each."""
    home = tmp_path_factory.mktemp("swept")
    (home / "stages").mkdir()
    (home / "pipelines").mkdir()
    (home / "stages/noise.py").write_text(NOISE, encoding="utf-8")
    (home / "pipelines/noisy.yaml").write_text(PIPELINE, encoding="utf-8")
    rows = [{"conversation": f"q{n}", "text": f"Question <b>{n}</b>?", "reference": f"q{n}."} for n in range(PROMPTS)]
    (home / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    command = [sys.executable, "-m", "vllm_flow", *WORDS]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("\nNext: vllm-flow report sweep\n")
    return home


@pytest.fixture
def project(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> Path:
    """A copy of that project, which a test may change; the working directory."""
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    home = tmp_path / "project"
    copytree(swept, home)
    for path in (home / "sweep/sweep.json", *home.glob("sweep/*/run.json")):
        path.write_text(path.read_text(encoding="utf-8").replace(str(swept), str(home)), encoding="utf-8")
    monkeypatch.chdir(home)
    return home


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def rewrite(folder: Path, change: Any) -> None:
    """Give each row of the results to `change`, and write what it gives back."""
    lines = [json.dumps(change(row)) + "\n" for row in results(folder)]
    (folder / "results.jsonl").write_text("".join(lines), encoding="utf-8")


def change_run(folder: Path, **values: Any) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def right(row: dict[str, Any]) -> bool:
    """Counted by hand: whether the reference stands in the answer."""
    return bool(row["reference"] in row["value"]["text"])
