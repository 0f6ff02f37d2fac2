"""Launchers of Hydra's own that run each job in a process: the command, its records and its failures are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
STAGES = '''
import os
from dataclasses import dataclass

from vllm_flow import SamplingPlan, Score, Turn, stage


@stage("score/peak")
@dataclass(frozen=True)
class Peak:
    """Best at 0.7, and too hot above 1."""

    def run(self, sampling: SamplingPlan, turn: Turn) -> Score:
        if sampling.numbers.temperature > 2:
            os._exit(9)
        if sampling.numbers.temperature > 1:
            raise ValueError("too hot")
        return Score(1 - (sampling.numbers.temperature - 0.7) ** 2)
'''
PIPELINE = "# @package _global_\n# A score.\ngraph:\n  score: {use: score/peak}\noutput: score\n"
ROWS = ['{"id": "a", "messages": [{"role": "user", "content": "hi"}]}']
TINY = ["model=custom", *(f"model.architecture.{key}" for key in ("hidden_size=32", "layers=2", "heads=2")),
        "sampling.max_tokens=6", "engine.threads=1"]  # fmt: skip


@pytest.fixture(params=["joblib", "submitit_local"])
def launcher(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    pytest.importorskip(f"hydra_plugins.hydra_{name.removesuffix('_local')}_launcher")
    return f"hydra/launcher={name}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {
        "stages/peak.py": STAGES,
        "pipelines/peak.yaml": PIPELINE,
        "pipelines/peak.jsonl": "\n".join(ROWS),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def run(project: Path, folder: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "vllm_flow", "-m", *words, f"hydra.sweep.dir={folder}"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def results(sweep: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(sweep.glob("*/results.jsonl"))}


def test_each_point_is_what_it_is_fused_and_each_failure_is_told(project: Path, launcher: str) -> None:
    points = ("sweep.points=[{pipeline:peak,sampling.temperature:0.7},{pipeline:peak,sampling.temperature:1.5},"
              "{pipeline:dialogue,store:sqlite,store.path:/proc/nowhere/s.db}]")  # fmt: skip
    others, fused = (run(project, name, "engine=echo", points, *words)
                     for name, words in (("others", [launcher]), ("fused", [])))  # fmt: skip
    assert (others.returncode, fused.returncode) == (1, 1)
    failure = "store.path (/proc/nowhere/s.db): it cannot be used"
    (line,) = [line for line in others.stderr.splitlines() if failure in line]
    assert line.startswith(f"vllm-flow: {project}/others/2 (engine=echo ")
    assert results(project / "others") == results(project / "fused")
    rows = [json.loads(text) for text in results(project / "others").values() if text]
    assert [row["value"] for row in rows] == [{"value": 1.0}, None]
    assert rows[1]["failure"]["message"] == "graph.score (score/peak): ValueError: too hot"
    assert json.loads((project / "others/sweep.json").read_text())["status"] == "failed"
    assert "3 points, 1 turn answered, 1 failed: others" in others.stderr


@pytest.mark.full  # submitit waits 15 s before it believes it
def test_a_process_that_dies_is_told_in_one_line_with_the_way_to_go_on(project: Path, launcher: str) -> None:
    done = run(project, "out", "engine=echo", "pipeline=peak", "sampling.temperature=0.7,3", launcher)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("vllm-flow: ")]
    assert line.startswith("vllm-flow: the launcher gave up (")
    assert line.endswith("). Go on with what is left: vllm-flow resume out")
    assert "Traceback" not in done.stderr
    assert json.loads((project / "out/sweep.json").read_text())["status"] == "failed"


@pytest.mark.full
def test_a_model_answers_with_the_same_bytes_in_any_process(project: Path, launcher: str) -> None:
    words = [*TINY, "sampling.temperature=0.2,0.9", "seed=1,2"]
    assert run(project, "others", *words, launcher).returncode == 0
    assert run(project, "fused", *words).returncode == 0
    answers = results(project / "fused")
    assert len(set(answers.values())) == 4
    assert results(project / "others") == answers
