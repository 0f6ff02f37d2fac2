"""The shipped files compose, and say what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_flow.config import compose, groups, sample_input
from vllm_flow.core import plugins
from vllm_flow.core.sampling_plan import SamplingPlan

from .conftest import Project

ROOT = Path(__file__).parents[2]
STAGES = {
    "dialogue": ["context/full", "fuse/chat", "schedule/sampling", "infer/generate", "context/update"],
    "story": ["context/story", "fuse/chat", "schedule/sampling", "infer/generate", "context/update"],
    "news": ["context/full", "fuse/chat", "schedule/sampling", "infer/generate", "context/update"],
    "review": ["context/full", "fuse/chat", "schedule/sampling", "infer/generate", "context/update"],
    "tutor": ["context/facts", "fuse/chat", "schedule/sampling", "infer/generate", "context/update"],
    "best_of": ["context/full", "fuse/chat", "schedule/sampling", "infer/sample", "select/vote", "context/update"],
    "most_likely": [
        "context/full", "fuse/chat", "schedule/sampling", "infer/sample", "score/likelihood", "select/best",
        "context/update",
    ],
    "perplexity": ["score/given"],
    "adapt": [
        "context/full", "adapt/learned", "score/given", "score/continued", "score/given", "adapt/lora", "score/compared",
        "context/update",
    ],
    "complete": ["fuse/plain", "schedule/sampling", "infer/generate"],
    "adaptive": [
        "context/full", "fuse/chat", "schedule/bandit", "schedule/deadline", "infer/generate", "score/metric",
        "schedule/measured", "context/update",
    ],
    "support": [
        "context/window", "source/folder", "retrieve/dense", "fuse/chat", "schedule/sampling", "infer/generate",
        "cite/passages", "context/update",
    ],
    "recommend": [
        "context/facts", "source/catalogue", "describe/tags", "describe/ocr", "fuse/describe", "recommend/candidates", "fuse/chat", "schedule/sampling",
        "recommend/choose", "context/update",
    ],
    "caption": [
        "context/full", "describe/tags", "describe/ocr", "fuse/describe", "fuse/chat", "schedule/sampling", "infer/generate",
        "context/update",
    ],
    "vqa": [
        "context/full", "describe/tags", "describe/ocr", "fuse/describe", "fuse/chat", "schedule/sampling", "infer/generate",
        "context/update",
    ],
    "guide": [
        "context/window", "source/folder", "describe/tags", "describe/ocr", "fuse/describe", "retrieve/dense", "fuse/chat",
        "schedule/sampling", "infer/generate", "cite/passages", "context/update",
    ],
    "judge": [
        "context/full", "fuse/chat", "schedule/sampling", "infer/generate", "judge/verdict", "context/update",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", STAGES)
def test_every_shipped_pipeline_composes_with_its_sample(name: str, project: Project) -> None:
    spec = compose([f"pipeline={name}"])
    assert spec.name == name
    assert sorted(node["use"] for node in spec.graph.values()) == sorted(STAGES[name])
    assert spec.output == {"perplexity": "rating", "judge": "verdict", "support": "answer", "guide": "answer"}.get(
        name, "reply"
    )
    assert spec.input == {"use": "input/file", "path": str(ROOT / "pipelines" / f"{name}.jsonl")}


def test_the_default_is_dialogue_with_balanced_sampling(project: Project) -> None:
    spec = compose([])
    assert spec == compose(["pipeline=dialogue", "sampling=balanced", "seed=0", "concurrency=256"])
    assert spec.sampling == {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1, "max_tokens": 192}
    assert spec.resources["store"] == {"use": "store/memory"}
    assert spec.resources["engine"]["model"]["name"] == "smollm2"


@pytest.mark.parametrize("name", sorted(groups()["sampling"]))
def test_every_sampling_preset_fits_the_sampling_parameters(name: str, project: Project) -> None:
    plugins.load_built_in()
    assert list(SamplingPlan.option_problems(compose([f"sampling={name}"]).sampling)) == []


@pytest.mark.parametrize("group", ["engine", "model", "store", "context", "experiment"])
def test_every_shipped_choice_composes(group: str, project: Project) -> None:
    for name in groups()[group]:
        assert compose([f"{group}={name}"]).graph


def test_a_pipeline_chooses_its_sampling_and_the_command_line_wins(project: Project) -> None:
    assert compose(["pipeline=story"]).sampling["max_tokens"] == 320
    assert compose(["pipeline=story", "sampling=greedy"]).sampling == {"temperature": 0, "max_tokens": 192}
    assert compose(["pipeline=best_of"]).sampling["n"] == 5


def test_every_choice_says_in_one_line_what_it_is_for() -> None:
    silent = [
        f"{group}/{choice}" for group, choices in groups().items() for choice, line in choices.items() if not line
    ]
    assert silent == []


def test_groups_name_what_can_be_chosen(project: Project) -> None:
    project.write("conf/sampling/mine.yaml", "# @package sampling\n# My own.\ntemperature: 0.1\n")
    project.write("conf/sampling/greedy.yaml", "# @package sampling\n# Mine instead.\ntemperature: 0\n")
    found = groups()
    assert found["context"]["full"] == "Everything said so far."
    assert found["context"]["window"] == "Only the last turns."
    assert found["pipeline"]["dialogue"] == "Talk over several turns."
    assert found["sampling"]["mine"] == "My own."
    assert found["sampling"]["greedy"] == "Mine instead."


def test_the_samples_of_a_project_stand_before_the_shipped_ones(project: Project) -> None:
    assert sample_input("story") == ROOT / "pipelines" / "story.jsonl"
    project.write("pipelines/story.jsonl", "")
    assert sample_input("story") == project.root / "pipelines" / "story.jsonl"
    assert sample_input("nothing") is None
