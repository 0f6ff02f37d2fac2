"""Pipelines that use pipelines are read with them."""

from __future__ import annotations

from tests import shipped
from vllm_flow.core.spec import RunSpec

from .conftest import Project


def nested(project: Project) -> RunSpec:
    project.pipeline("outer", "graph:\n  ask: {use: pipeline/middle}\noutput: ask\n")
    project.pipeline(
        "middle", "graph:\n  first: {use: pipeline/story}\n  again: {use: pipeline/story}\noutput: first\n"
    )
    return project.compose("pipeline=outer", "sampling=greedy")


def test_every_pipeline_that_is_used_is_there_once(project: Project) -> None:
    spec = nested(project)
    assert set(spec.pipelines) == {"middle", "story"}
    assert spec.pipelines["middle"]["output"] == "first"
    assert spec.pipelines["story"]["graph"]["context"]["use"] == "context/story"
    assert set(spec.pipelines["story"]) == {"graph", "output"}


def test_their_values_have_origins_of_their_own(project: Project) -> None:
    spec = nested(project)
    assert spec.origin(("pipelines", "middle", "graph", "again", "use")) == "pipelines/middle.yaml:4"
    assert spec.origin(("pipelines", "story", "graph", "reply")) == "pipelines/story.yaml:15"
    assert spec.origin(("pipelines", "story", "output")) == "pipelines/story.yaml:17"


def test_pipelines_that_use_each_other_come_to_an_end(project: Project) -> None:
    project.pipeline("a", "graph:\n  x: {use: pipeline/b}\noutput: x\n")
    project.pipeline("b", "graph:\n  x: {use: pipeline/a}\noutput: x\n")
    assert set(project.compose("pipeline=a").pipelines) == {"a", "b"}


def test_an_unknown_pipeline_inside_another_is_refused(project: Project) -> None:
    project.pipeline("a", "graph:\n  x: {use: pipeline/b}\noutput: x\n")
    project.pipeline("b", "graph:\n  x: {use: pipeline/dialoge}\noutput: x\n")
    assert project.faults("pipeline=a") == [
        "pipelines.b.graph.x.use (pipelines/b.yaml:3): there is no pipeline 'dialoge'. Did you mean 'dialogue'? "
        f"There are: {shipped.pipelines('a', 'b')}."
    ]


def test_a_pipeline_without_a_sample_has_no_input_until_one_is_given(project: Project) -> None:
    project.write("pipelines/once.yaml", "# @package _global_\ngraph:\n  x: {use: infer/generate}\noutput: x\n")
    assert project.compose("pipeline=once").input == {}
    assert project.compose("pipeline=once", "input.text=hi").input == {"use": "input/text", "text": "hi"}
