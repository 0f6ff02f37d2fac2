"""The README's own commands and examples, run as they stand.

The command with its words alone runs in the test's own process, which has imported everything already; pipes, what shows
a fault and most of what is Python have processes of their own.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.command import Said, flow
from vllm_flow.config import compose
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.values import Turn
from vllm_flow.sources import JsonLines

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL_ALONE = re.compile(r"[|&;<>`$\\]")
"""What a line means by these is the shell's to say."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def recipes() -> list[str]:
    block = next(block for block in blocks("bash") if block.startswith("# 1."))
    return [line for line in block.splitlines() if line and not line.startswith("#")]


def shell(folder: Path, line: str) -> Said:
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


def run(folder: Path, line: str) -> Said:
    """A line of the shell, without one for what is the command alone."""
    before, _, last = line.rpartition(" && ")
    if SHELL_ALONE.search(last):
        return shell(folder, line)
    if before:
        assert shell(folder, before).returncode == 0
    command, *words = shlex.split(last)
    assert command == "vllm-flow"
    return flow(folder, *words)


@pytest.mark.parametrize("line", recipes())
def test_a_recipe_runs(line: str, tmp_path: Path, smollm2: Path) -> None:
    said = run(tmp_path, f"{line} sampling.max_tokens=6")  # shorter answers; all else as it stands
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip()


def test_there_are_five_recipes() -> None:
    assert len(recipes()) == 5


def test_the_broken_configuration_reads_as_shown(tmp_path: Path) -> None:
    (block,) = blocks("console")
    command, *lines = block.strip().splitlines()
    said = shell(tmp_path, command.removeprefix("$ "))
    assert said.returncode == 2
    assert len(said.stderr.splitlines()) == len(lines)
    for line, shown in zip(said.stderr.splitlines(), lines, strict=True):
        assert line.startswith(shown.removesuffix("…"))


def test_the_pipeline_shown_is_the_pipeline_shipped() -> None:
    shown = next(block for block in blocks("yaml") if "Talk over several turns." in block)
    assert shown == (ROOT / "pipelines" / "dialogue.yaml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("own_registry")
def test_the_stage_that_the_readme_adds_works(tmp_path: Path) -> None:
    stage = next(block for block in blocks("python") if '@stage("edit/shout")' in block)
    test = next(block for block in blocks("python") if "check_stage" in block)
    pipeline = next(block for block in blocks("yaml") if "edit/shout" in block)
    for name, text in (("stages/shout.py", stage), ("pipelines/loud.yaml", pipeline), ("tests/test_shout.py", test)):
        assert f"`{name}`" in README
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    (steps,) = re.findall(r"<!-- a stage in ten minutes -->\n```bash\n(.*?)```", README, re.DOTALL)
    explained, drawn, answered = (run(tmp_path, line) for line in steps.splitlines())
    assert "The reply in capitals." in explained.stdout
    assert drawn.stdout.endswith("loud: 6 nodes, output 'loud', no faults.\n")
    assert (answered.returncode, answered.stdout) == (0, "HELLO THERE!!\n"), answered.stderr
    said = shell(tmp_path, "python -m pytest -q")
    assert (said.returncode, said.stdout.splitlines()[-1].partition(" in ")[0]) == (0, "1 passed"), said.stdout


def test_what_the_readme_moves_moves(tmp_path: Path, smollm2: Path) -> None:
    (lines,) = re.findall(r"<!-- what moves -->\n```bash\n(.*?)```", README, re.DOTALL)
    drawn, *runs = lines.splitlines()
    assert "cosine" in run(tmp_path, drawn).stdout
    for line in runs:
        said = run(tmp_path, f"{line} sampling.max_tokens=6")
        assert said.returncode == 0, said.stderr
    rows = [json.loads(path.read_text(encoding="utf-8").splitlines()[0]) for path in tmp_path.rglob("calls.jsonl")]
    moving = [call["moving"]["temperature"] for row in rows for call in row["calls"] if "moving" in call]
    assert sorted(map(len, moving)) == [6] * 3


@pytest.mark.usefixtures("own_registry")
def test_the_schedule_that_the_readme_writes_works(tmp_path: Path) -> None:
    code = next(block for block in blocks("python") if '@schedule("calm"' in block)
    test = next(block for block in blocks("python") if "check_schedule" in block)
    for name, text in (("stages/calm.py", code), ("tests/test_calm.py", test)):
        assert f"`{name}`" in README
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    said = run(tmp_path, "vllm-flow engine=echo sampling.temperature=calm input.text='to be'")
    assert (said.returncode, said.stdout) == (0, "to be\n"), said.stderr
    said = shell(tmp_path, "python -m pytest -q")
    assert (said.returncode, said.stdout.splitlines()[-1].partition(" in ")[0]) == (0, "1 passed"), said.stdout


def example(folder: Path, mark: str) -> str:
    """The file with the Python example that has `mark` in it."""
    (code,) = (block for block in blocks("python") if mark in block)
    (folder / "example.py").write_text(code, encoding="utf-8")
    return str(folder / "example.py")


def python(folder: Path, mark: str) -> list[str]:
    """What the Python example with `mark` in it prints, in lines; it says nothing else."""
    said = shell(folder, f"python {example(folder, mark)}")
    assert (said.returncode, said.stderr) == (0, "")
    return said.stdout.splitlines()


def test_the_session_shown_talks_streams_and_runs_a_batch(tmp_path: Path, smollm2: Path) -> None:
    lines = python(tmp_path, "session.stream(")
    (folder,) = tmp_path.glob("outputs/runs/*/*-dialogue-python-*")
    assert lines[-1] == str(folder)
    assert all(lines)
    assert len((folder / "results.jsonl").read_text(encoding="utf-8").splitlines()) == 4


def test_the_pipeline_shown_in_python_answers(tmp_path: Path) -> None:
    assert python(tmp_path, "build(table") == ["Hello there."]


def test_the_model_shown_is_looked_into(
    tmp_path: Path, smollm2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(example(tmp_path, "engine.forward"))
    shapes = ["30 torch.Size([1, 9, 5, 5])", "torch.Size([1, 5, 49152])"]
    assert capsys.readouterr() == ("\n".join([" Paris", *shapes, ""]), "")


def test_what_the_readme_reads_and_remembers_is_answered(tmp_path: Path, smollm2: Path) -> None:
    (lines,) = re.findall(r"<!-- what is read -->\n```bash\n(.*?)```", README, re.DOTALL)
    *runs, listed = lines.splitlines()
    assert len(runs) == 4
    for line in runs:
        fewer = " input.limit=2" if "pipeline=support" in line else ""
        said = run(tmp_path, f"{line} sampling.max_tokens=24{fewer}")
        assert said.returncode == 0, said.stderr
        assert said.stdout.strip()
    newest = max(tmp_path.rglob("results.jsonl"), key=lambda path: path.stat().st_mtime)
    (row,) = map(json.loads, newest.read_text(encoding="utf-8").splitlines())
    assert isinstance(row["value"]["parsed"]["value"]["city"], str)
    assert "I am Ana" in run(tmp_path, listed).stdout


def test_what_the_readme_sees_and_hears_is_answered(tmp_path: Path, whisper: Path) -> None:
    (lines,) = re.findall(r"<!-- seen and heard -->\n```bash\n(.*?)```", README, re.DOTALL)
    heard, seen = lines.splitlines()
    assert run(tmp_path, heard).stdout.startswith("And Mr. John Dashwood")
    (tmp_path / "pipelines" / "caption").mkdir(parents=True)
    shutil.copy(ROOT / "pipelines" / "caption" / "sign.png", tmp_path / "pipelines" / "caption")
    assert re.fullmatch(r"\[image \d+x\d+\]What is on it\?\n", run(tmp_path, seen).stdout)


def test_the_tools_that_the_readme_offers_are_those_and_no_others(tmp_path: Path) -> None:
    (chosen,) = re.findall(r"<!-- which tools -->\n```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "conf" / "tools").mkdir(parents=True)
    (tmp_path / "conf" / "tools" / "mine.yaml").write_text(chosen, encoding="utf-8")
    (words,) = re.findall(r"`vllm-flow chat (tools=mine .*?)`", README)
    composed, checked = (run(tmp_path, f"vllm-flow check {more} {words}").stdout for more in ("--config", ""))
    offered = yaml.safe_load(composed.partition("\ncontext\t")[0])["resources"]["tools"]["offer"]
    assert set(offered) == {"clock", "weather"}
    assert checked.endswith("no faults.\n")


def test_what_the_readme_says_of_a_catalogue_and_of_rows_with_sounds_has_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE.jsonl").write_text('{"id": 1, "title": "Emma", "text": "A matchmaker."}', encoding="utf-8")
    Path("rows.jsonl").write_text('{"audio": "talk.ogg"}', encoding="utf-8")
    shutil.copy(ROOT / "pipelines" / "transcribe" / "sense_and_sensibility.ogg", "talk.ogg")
    (asked,) = re.findall(r"`vllm-flow chat (pipeline=recommend .*?)`", README)
    nodes = Pipeline.build(compose(shlex.split(asked))).graph.nodes
    (catalogue,) = (node.stage.run() for node in nodes if isinstance(node.stage, JsonLines))
    assert catalogue.offers[0].text == "Emma: A matchmaker."
    (given,) = re.findall(r"`(input.path=rows.*?)` takes many", README)
    (row,) = Pipeline.build(compose(["pipeline=transcribe", *given.split()])).turns()
    assert isinstance(row, Turn)
    assert row.message.shown == "[audio talk.ogg]"


def test_the_folders_that_the_readme_names_are_there() -> None:
    table = README.partition("## Where things are")[2].partition("## What a run leaves")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row)
        assert (ROOT / first).exists() or first == "outputs/"
        assert [name for name in others if not (ROOT / "vllm_flow" / name).exists()] == []
    packages = {path.parent.name for path in (ROOT / "vllm_flow").glob("*/__init__.py")}
    assert {name for name in packages if f"{name}/`" not in table} == set()
