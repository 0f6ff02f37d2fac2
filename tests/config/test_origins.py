"""Every value knows the file and line, or the command line, that wrote it."""

from __future__ import annotations

from .conftest import Project


def test_values_come_from_the_file_that_wrote_them_last(project: Project) -> None:
    spec = project.compose("pipeline=story", "experiment=cold", "context=window", "context.turns=3", "concurrency=4")
    expected = {
        ("graph", "context", "use"): "conf/context/window.yaml:4",
        ("graph", "context", "turns"): "command line",
        ("graph", "prompt", "system"): "pipelines/story.yaml:11",
        ("graph", "reply"): "pipelines/story.yaml:15",
        ("graph",): "pipelines/story.yaml:8",
        ("sampling", "temperature"): "conf/sampling/greedy.yaml:4",
        ("sampling",): "conf/sampling/greedy.yaml:4",
        ("resources", "store", "use"): "conf/store/memory.yaml:4",
        ("seed",): "conf/experiment/cold.yaml:6",
        ("concurrency",): "command line",
        ("plugins",): "conf/config.yaml:23",
        ("input", "path"): "conf/input/sample.yaml:4",
    }
    assert {path: spec.origins[path] for path in expected} == expected


def test_what_is_read_through_a_reference_comes_from_where_it_was_written(project: Project) -> None:
    spec = project.compose("model=qwen", "model.path=/weights")
    assert spec.resources["engine"]["model"]["path"] == "/weights"
    assert spec.origin(("resources", "engine", "model", "hub")) == "conf/model/qwen.yaml:5"
    assert spec.origin(("resources", "engine", "model", "path")) == "command line"
    assert spec.origin(("resources", "engine", "use")) == "conf/engine/transformers.yaml:4"


def test_every_value_of_the_spec_has_an_origin(project: Project) -> None:
    spec = project.compose("pipeline=best_of", "graph.reply={weights: {a: 1}}", "sampling.stop=[x,y]")

    def paths(value: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        return [path, *(below for key, item in items for below in paths(item, (*path, str(key))))]

    content = {key: value for key, value in spec.content().items() if key not in ("name", "pipelines")}
    missing = [path for path in paths(content, ()) if path and path not in spec.origins]
    assert missing == []
    assert spec.origins["graph", "reply", "weights", "a"] == "command line"
    assert spec.origins["sampling", "stop", "1"] == "command line"


def test_what_was_deleted_has_no_origin(project: Project) -> None:
    spec = project.compose("~graph.remember")
    assert [path for path in spec.origins if path[:2] == ("graph", "remember")] == []


def test_hydra_itself_is_no_part_of_it(project: Project) -> None:
    assert [path for path in project.compose("hydra.run.dir=x").origins if path[0] == "hydra"] == []
