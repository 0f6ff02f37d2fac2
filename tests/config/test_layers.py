"""The project's files stand before the shipped ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_flow.config import compose
from vllm_flow.config.layers import Layer

from .conftest import Project


def test_a_project_file_stands_before_the_shipped_one_and_can_extend_it(project: Project) -> None:
    project.write(
        "conf/sampling/balanced.yaml",
        "# @package sampling\n# Warmer.\ndefaults: [/shipped/sampling/balanced, _self_]\ntemperature: 0.8\n",
    )
    spec = project.compose()
    assert spec.sampling == {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.1, "max_tokens": 192}
    assert spec.origin(("sampling", "temperature")) == "conf/sampling/balanced.yaml:4"


def test_a_project_adds_pipelines_and_groups_of_its_own(project: Project) -> None:
    project.pipeline("once", "# Once.\ngraph:\n  reply: {use: infer/generate}\noutput: reply\n")
    spec = project.compose("pipeline=once")
    assert (spec.name, spec.graph) == ("once", {"reply": {"use": "infer/generate"}})
    assert spec.input == {"use": "input/jsonl", "path": "pipelines/once.jsonl"}


def test_the_project_folder_can_be_named_by_the_environment(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("conf/sampling/mine.yaml", "# @package sampling\ntemperature: 0.3\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("VLLM_FLOW_PROJECT", str(project.root))
    assert compose(["sampling=mine"]).sampling == {"temperature": 0.3}


def test_a_foreign_primary_configuration_is_left_alone(project: Project) -> None:
    project.write("conf/config.yaml", "defaults: [_self_, {db: mysql}]\nseed: 99\n")
    assert project.compose().seed == 0


def test_a_primary_configuration_meant_for_us_extends_the_shipped_one(project: Project) -> None:
    project.write("conf/config.yaml", "# @package _global_\ndefaults: [/shipped/config, _self_]\nseed: 99\n")
    spec = project.compose()
    assert (spec.seed, spec.origin(("seed",))) == (99, "conf/config.yaml:3")


def test_a_symbolic_link_is_read_like_a_file(project: Project) -> None:
    project.write("elsewhere.yaml", "# @package sampling\ntemperature: 0.3\n")
    (project.root / "conf/sampling").mkdir(parents=True)
    (project.root / "conf/sampling/linked.yaml").symlink_to(project.root / "elsewhere.yaml")
    assert project.compose("sampling=linked").sampling == {"temperature": 0.3}


def test_no_path_leads_out_of_a_layer(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "outside.yaml").write_text("a: 1\n")
    assert Layer("project", tmp_path).file("../outside") is None


def test_other_hydra_programs_in_the_process_are_left_alone(project: Project) -> None:
    from hydra import initialize_config_dir, version
    from hydra.core.global_hydra import GlobalHydra

    project.write("foreign/config.yaml", "seed: 5\n")
    with initialize_config_dir(str(project.root / "foreign"), version_base="1.2"):
        surrounding = GlobalHydra.instance().hydra
        assert project.compose("seed=1").seed == 1
        assert GlobalHydra.instance().hydra is surrounding
        assert str(version.getbase()) == "1.2"
        sources = {source.provider for source in GlobalHydra.instance().config_loader().get_sources()}
        assert sources == {"hydra", "main", "schema"}
