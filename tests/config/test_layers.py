"""The project's files stand before the shipped ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from vllm_flow.config import compose, groups, run_jobs, schema
from vllm_flow.config.keys import TOP
from vllm_flow.config.layers import Layer, layers, shipped_root
from vllm_flow.core.errors import listed
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.sweep.points import Outcome, Point
from vllm_flow.sweep.settings import Sweep

from .conftest import Project

LOCAL = "conf/local/default.yaml"
WHOLE = "# @package _global_\n"


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
    assert spec.input == {"use": "input/file", "path": "pipelines/once.jsonl"}


def test_documents_stand_beside_the_pipelines_the_projects_first(project: Project) -> None:
    assert project.compose("pipeline=support").graph["library"]["path"] == str(shipped_root() / "pipelines" / "support")
    project.write("pipelines/support/own.md", "Ours.")
    spec = project.compose("pipeline=support")
    assert spec.graph["library"]["path"] == str(project.root / "pipelines" / "support")
    assert spec.graph["library"]["roots"] == [spec.graph["library"]["path"]]
    Pipeline.build(spec)  # and so the folder may be read
    missing = project.compose("pipeline=support", "graph.library.path=${beside:none}")
    assert missing.graph["library"]["path"] == str(project.root / "pipelines" / "none")


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


def test_a_primary_configuration_stands_before_an_experiment_and_not_after_it(project: Project) -> None:
    project.write(
        "conf/config.yaml", f"{WHOLE}defaults: [/shipped/config, _self_]\nseed: 99\nsampling: {{top_p: 0.5}}\n"
    )
    spec = project.compose("experiment=cold")
    assert (spec.seed, spec.origin(("seed",))) == (1, "conf/experiment/cold.yaml:6")
    assert spec.sampling == {"temperature": 0, "top_p": 0.5, "max_tokens": 192}


@pytest.mark.parametrize(("path", "text"), [("pipelines/mine.yaml", ""), ("stages/a.py", '@stage("a/b")\n')])
def test_a_primary_configuration_that_would_not_be_read_is_a_fault_in_a_folder_of_ours(
    project: Project, path: str, text: str
) -> None:
    project.write("conf/config.yaml", "seed: 99\n")
    project.write(path, text)
    assert project.faults() == [
        "conf/config.yaml: it does not build on /shipped/config, so nothing in it would count. Begin it with "
        "'defaults: [/shipped/config, _self_]', or keep another program's file out of this folder."
    ]


def test_a_checkout_serves_as_a_project_for_what_was_installed_from_it(project: Project) -> None:
    for name in ("conf", "pipelines"):
        shutil.copytree(shipped_root() / name, project.root / name)
    spec = project.compose("sampling=greedy")
    assert (spec.name, spec.sampling["temperature"]) == ("dialogue", 0)


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_an_environment_that_names_no_project_is_told(
    project: Project, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_FLOW_PROJECT", folder)
    assert project.faults("sampling=mine") == [
        f"VLLM_FLOW_PROJECT (environment): {(project.root / folder).resolve()} is no project: it has none of the "
        "folders conf, pipelines, stages. Name one that has."
    ]


def test_a_pipeline_stands_before_the_shipped_one_of_its_name_and_extends_it(project: Project) -> None:
    project.write(
        "pipelines/dialogue.yaml",
        f"{WHOLE}# Politely.\ndefaults: [/shipped/pipeline/dialogue, _self_]\ngraph: {{prompt: {{system: Be polite.}}}}\n",
    )
    spec = project.compose()
    assert spec.graph["prompt"] == {"use": "fuse/chat", "system": "Be polite."}
    assert spec.origin(("graph", "reply", "use")) == "pipelines/dialogue.yaml:8"
    assert spec.input["path"].endswith("/pipelines/dialogue.jsonl")
    assert groups()["pipeline"]["dialogue"] == "Politely."


def test_a_model_of_the_project_is_one_of_the_choices(project: Project) -> None:
    project.write("conf/model/tiny.yaml", "# @package model\n# Ours.\ndefaults: [custom, _self_]\nname: tiny\n")
    assert project.compose("model=tiny").resources["engine"]["model"]["name"] == "tiny"
    assert groups()["model"]["tiny"] == "Ours."


def test_a_folder_with_nothing_but_stages_is_a_project(project: Project) -> None:
    assert [layer.name for layer in layers()] == ["shipped"]
    project.write("stages/a.py", "")
    assert [layer.name for layer in layers()] == ["project", "shipped"]


def test_the_machine_has_the_last_word_but_for_the_command_line(project: Project) -> None:
    project.write(
        LOCAL, f"{WHOLE}defaults: [override /engine: echo]\nseed: 7\nconcurrency: 3\nsampling: {{top_p: 0.5}}\n"
    )
    spec = project.compose("experiment=cold", "concurrency=4")
    assert (spec.seed, spec.concurrency, spec.resources["engine"]) == (7, 4, {"use": "engine/echo"})
    assert spec.sampling == {"temperature": 0, "max_tokens": 192, "top_p": 0.5}
    assert spec.origin(("seed",)) == f"{LOCAL}:3"
    assert spec.origin(("concurrency",)) == "command line"


def test_the_machines_settings_come_after_a_primary_configuration_of_the_project(project: Project) -> None:
    project.write("conf/config.yaml", f"{WHOLE}defaults: [/shipped/config, _self_]\nseed: 99\nconcurrency: 9\n")
    project.write(LOCAL, f"{WHOLE}seed: 7\n")
    spec = project.compose()
    assert (spec.seed, spec.concurrency) == (7, 9)


def test_the_machines_settings_are_no_choice_that_anybody_sees(project: Project) -> None:
    project.write(LOCAL, f"{WHOLE}seed: 7\n")
    assert "local" not in groups()
    assert "local" not in project.compose().choices
    (fault,) = project.faults("local=default")
    assert fault.startswith("local (command line): there is no key 'local'.")
    assert "local" not in schema()["$defs"]


def test_the_machines_settings_may_hold_what_any_file_may_that_writes_at_the_top(project: Project) -> None:
    project.write(LOCAL, f"{WHOLE}sampling: {{topp: 1}}\nsede: 3\n")
    assert project.faults() == [
        f"sede ({LOCAL}:3): there is no key 'sede'. Did you mean 'seed'? There are: {listed({*TOP, *groups()})}."
    ]
    text = f"{WHOLE}# yaml-language-server: $schema=../schema.json\ndefaults: [override /engine: echo]\nseed: 7\n"
    assert list(Draft202012Validator(schema()).iter_errors(yaml.safe_load(text))) == []


def test_the_first_line_of_the_machines_settings_is_checked(project: Project) -> None:
    project.write(LOCAL, "seed: 7\n")
    assert project.faults() == [
        f"{LOCAL}:1: the values would go to 'local'. Line 1 must be '# @package _global_', as the file needs."
    ]


def test_the_pipelines_that_a_pipeline_uses_have_the_machines_settings_too(project: Project) -> None:
    project.write(LOCAL, f"{WHOLE}defaults: [override /context: window]\ngraph: {{context: {{turns: 2}}}}\n")
    project.pipeline(
        "both", "defaults: [/context: full, _self_]\ngraph:\n  reply: {use: pipeline/dialogue}\noutput: reply\n"
    )
    spec = project.compose("pipeline=both")
    assert (
        spec.graph["context"] == spec.pipelines["dialogue"]["graph"]["context"] == {"use": "context/window", "turns": 2}
    )
    assert spec.origin(("pipelines", "dialogue", "graph", "context", "turns")) == f"{LOCAL}:3"


def test_every_job_of_a_sweep_has_the_machines_settings(project: Project) -> None:
    project.write(LOCAL, f"{WHOLE}concurrency: 3\nhydra: {{sweep: {{dir: here}}}}\n")
    seen: list[tuple[str, int, int]] = []

    def note(points: Sequence[Point], sweep: Sweep) -> list[Outcome]:
        for one in points:
            seen.append((one.folder.relative_to(project.root).as_posix(), one.spec.seed, one.spec.concurrency))
        return [Outcome(one.folder, one.overrides, "finished") for one in points]

    run_jobs(["-m", "seed=1,2"], note)
    assert seen == [("here/0", 1, 3), ("here/1", 2, 3)]


def test_the_machines_settings_count_in_their_own_project_alone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(f"elsewhere/{LOCAL}", f"{WHOLE}seed: 7\n")
    shipped = Layer("shipped", project.root / "elsewhere")
    assert shipped.file("local/default") is None
    monkeypatch.chdir(shipped.root)
    assert shipped.file("local/default") == shipped.root / LOCAL


def test_a_symbolic_link_is_read_like_a_file(project: Project) -> None:
    project.write("elsewhere.yaml", "# @package sampling\ntemperature: 0.3\n")
    (project.root / "conf/sampling").mkdir(parents=True)
    (project.root / "conf/sampling/linked.yaml").symlink_to(project.root / "elsewhere.yaml")
    assert project.compose("sampling=linked").sampling == {"temperature": 0.3}


def test_no_path_leads_out_of_a_layer(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "outside.yaml").write_text("a: 1\n")
    assert Layer("project", tmp_path).file("../outside") is None


@pytest.fixture
def own_base() -> Iterator[None]:
    """Hydra keeps the base version of whoever asked last, for the whole process."""
    from hydra import version

    before = version.getbase()
    yield
    version.VersionBase.instance().version_base = before


@pytest.mark.usefixtures("own_base")
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
