"""A sweep that needs no model, and judges whose taste is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_flow.cli import main

STAGES = '''"""Judges of known taste."""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vllm_flow import Completion, stage
from vllm_flow.stages import Preference


@stage("judge/known")
@dataclass(frozen=True)
class Known:
    """Judges what the echo engine repeats: the question itself."""

    taste: Literal["longer", "first", "tie", "silent", "silent of word3", "failing", "by chance"] = "longer"
    seconds: float = 0.0

    async def run(self, reply: Completion) -> Preference:
        await asyncio.sleep(self.seconds)
        if self.taste == "failing" and not Path("mended").exists():
            raise ValueError("out of order")
        if self.taste == "silent" or (self.taste == "silent of word3" and "word3" in reply.text):
            return Preference(None, reply.text)
        if self.taste in ("first", "tie"):
            return Preference("A" if self.taste == "first" else "tie", reply.text)
        if self.taste == "by chance":
            return Preference("A" if hashlib.sha256(reply.text.encode()).digest()[0] % 2 else "B", reply.text)
        a, b = (re.search(rf"\\[Answer {n}\\]\\n(.*?)\\n\\[End of answer", reply.text, re.S).group(1) for n in "AB")
        return Preference("tie" if len(a) == len(b) else "A" if len(a) > len(b) else "B", reply.text)
'''
PIPELINE = """# @package _global_
# A judge of known taste.
defaults: [judge, _self_]
graph:
  verdict: {use: judge/known}
output: verdict
"""
PROMPTS = 10


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def said(self) -> list[str]:
        return self.err.splitlines()


@pytest.fixture
def flow(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def call(*words: str) -> Ran:
        capsys.readouterr()
        code = main(list(words))
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> Path:
    """An empty sweep's surroundings: ten rows of seven words, and the judge; the working directory."""
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").mkdir()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "stages/known.py").write_text(STAGES, encoding="utf-8")
    (tmp_path / "pipelines/known.yaml").write_text(PIPELINE, encoding="utf-8")
    write_rows([{"conversation": f"q{n}", "text": f"word{n} two three four five six seven"} for n in range(PROMPTS)])
    return tmp_path


def write_rows(rows: list[dict[str, Any]]) -> None:
    Path("rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")


def sweep(lengths: str = "3,5,5", *words: str) -> None:
    """A point for each number of words, the first of them the baseline, in `s`."""
    each = ", ".join(f"{{sampling.max_tokens: {one}}}" for one in lengths.split(","))
    asked = ["input.path=rows.jsonl", "engine=echo", f"sweep.points=[{each}]", "hydra.sweep.dir=s", *words]
    assert main(["-m", *asked]) == 0


def judge(taste: str, *words: str) -> list[str]:
    return ["judge", "s", "pipeline=known", "engine=echo", f"graph.verdict.taste={taste}", *words]


def read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_yaml(path: str) -> Any:
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
