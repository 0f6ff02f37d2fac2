"""A project's own functions: two lines beside their code, and named where they are offered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vllm_flow
from vllm_flow.cli import main
from vllm_flow.config.project import own_files
from vllm_flow.core import registry

TIDES = '''"""When the sea comes."""

import vllm_flow as flow
from vllm_flow import Clock, tool


@tool
def tide(harbour: str, clock: Clock) -> str:
    """When the water is high.

    Args:
        harbour: Its name.
    """
    return f"{harbour}: high water at {clock.now().hour + 3}:00"


@flow.tool  # by its own name, too
async def moon() -> str:
    """The phase of the moon."""
    return "full"


@tool("stars")
def _stars() -> str:
    """Which stars are seen."""
    return "many"
'''


@pytest.fixture
def project(own_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "tools/tides.py": TIDES,
        "conf/config.yaml": "defaults: [/shipped/config, _self_]\n",
        "conf/tools/sea.yaml": "# @package resources.tools\n# The sea.\nuse: tools/functions\noffer: {tide: {}, moon: {}}\n",
        "pipelines/sea.yaml": (
            "# @package _global_\n# Ask about the sea.\n"
            "defaults: [dialogue, _self_, override /tools: sea]\n"
            "graph:\n  reply: {use: infer/tools}\n"
        ),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_file_says_what_it_registers_without_being_run(project: Path) -> None:
    (file,) = own_files()
    assert (file.label, dict(file.registers)) == ("tools/tides", {"tide": "tool", "moon": "tool", "stars": "tool"})


def test_functions_of_a_project_are_listed_and_explained(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "functions", "tools"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert {
        "functions\ttide\tWhen the water is high.",
        "functions\tmoon\tThe phase of the moon.",
        "tools\tsea\tThe sea.",
    } <= {*lines}
    assert main(["ls", "tide"]) == 0
    assert "asks for  harbour: a text, clock: a resource" in capfd.readouterr().out


def test_what_is_offered_is_imported_and_reaches_the_model(project: Path) -> None:
    with vllm_flow.load("sea", ["engine=echo"], record=False) as session:
        session.open()
        assert [one.name for one in session.opened("tools").specs()] == ["tide", "moon"]
        assert session.run("Hello").text == "Hello"
    assert registry.tool.find("stars") is not None  # the file is one


def test_a_name_that_no_file_registers_is_a_fault_with_its_place(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "pipeline=sea", "engine=echo", "+tools.offer.tyde={}"]) == 2
    assert capfd.readouterr().err == (
        "resources.tools.offer.tyde (command line): there is no tool 'tyde'. Did you mean 'tide'? "
        "There are: calculator, clock, moon, page, search, stars, tide, weather.\n"
    )


def test_what_a_tool_cannot_do_without_has_to_be_there(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "conf/tools/sea.yaml").write_text(
        "# @package resources.tools\n# Pages.\nuse: tools/functions\noffer: {page: {}, clock: {}}\n", encoding="utf-8"
    )
    assert main(["check", "pipeline=sea", "engine=echo", "~resources.web"]) == 2
    assert "graph.reply" in (said := capfd.readouterr().err)
    assert said.endswith(
        "page of resources.tools cannot do without 'web', which is not there. Add resources.web, or leave page out.\n"
    )


def test_the_schema_for_editors_knows_what_can_be_offered(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--schema"]) == 0
    assert "tools.choice" in json.loads(capfd.readouterr().out)["$defs"]
