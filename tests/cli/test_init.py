"""`vllm-flow init`: what it makes runs at once, and where it may not go nothing is written."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from vllm_flow.cli import init, main
from vllm_flow.cli.init import EXAMPLES, commands

EDITOR_LINE = re.compile(r"# yaml-language-server: \$schema=(?P<file>[^#]+)#/\$defs/(?P<part>\w+)")
DIALOGUE = """\
Made talk:
  .gitignore
  README.md
  conf/experiment/hard.yaml
  conf/schema.json
  pipelines/riddle.jsonl
  pipelines/riddle.yaml
  pytest.ini
  stages/guard.py
  tests/test_guard.py
Next:
  cd talk
  vllm-flow check pipeline=riddle
  vllm-flow pipeline=riddle
"""
NOT_EMPTY = "the folder is not empty: {there} would be in the way. Choose a new or an empty one."
NO_NAME = "this is no name for a folder. Take letters, digits, _, - and ."
NO_PACKAGE = "'{name}' is no name for a Python package. Take letters, digits and _."


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def write(path: str, text: str = "mine") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def test_what_is_made_is_listed_with_three_commands_to_go_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "talk"]) == 0
    assert capsys.readouterr().out == DIALOGUE
    made = sorted(path.relative_to("talk").as_posix() for path in Path("talk").rglob("*") if path.is_file())
    assert made == [line.strip() for line in DIALOGUE.splitlines()[1:-4]]
    assert os.listdir() == ["talk"]


def test_this_folder_will_do_when_nothing_but_hidden_things_are_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(".git/HEAD")
    write(".venv/pyvenv.cfg")
    assert main(["init", ".", "--example", "tool"]) == 0
    assert capsys.readouterr().out.endswith(
        "Next:\n  vllm-flow check pipeline=buses\n  vllm-flow experiment=morning\n"
        '  vllm-flow pipeline=buses input.text="When does the next bus to the museum leave?"\n'
    )
    assert sorted(os.listdir()) == sorted(
        [".git", ".gitignore", ".venv", "README.md", "conf", "pipelines", "pytest.ini", "tests", "tools"]
    )


def test_a_folder_of_another_name_is_quoted_where_a_shell_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("there").mkdir()
    assert main(["init", "there/it is 中文"]) == 0
    assert "\n  cd 'there/it is 中文'\n" in capsys.readouterr().out
    assert Path("there/it is 中文/stages/guard.py").is_file()


def test_the_help_names_every_example_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--help"]) == 0
    shown = re.findall(r"(?m)^  (\w+) +\w", capsys.readouterr().out)
    assert shown == list(EXAMPLES)
    assert sorted(shown) == sorted(path.name for path in init.TEMPLATES.iterdir())


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "init: a name is missing. Write vllm-flow init NAME, or . for this folder."),
        ([""], "init: a name is missing. Write vllm-flow init NAME, or . for this folder."),
        (["a", "b"], "init: 2 names are given. Write vllm-flow init NAME, or . for this folder."),
        (["a", "--exmple", "x"], "--exmple (command line): there is no such flag. Did you mean '--example'? Flags: --example, --help, -h."),
        (["a", "--example", "sweeps"], "--example (command line): there is no example 'sweeps'. Did you mean 'sweep'? There are: dialogue, plugin, sweep, tool."),
        (["a", "--example", "weather"], "--example (command line): there is no example 'weather'. Did you mean 'tool'? There are: dialogue, plugin, sweep, tool."),
        (["a", "--example"], "--example (command line): there is no example ''. There are: dialogue, plugin, sweep, tool."),
        (["full"], f"init full: {NOT_EMPTY.format(there='a, b, c, d, e and 2 more')}"),
        ([".."], None),
        (["."], f"init .: {NOT_EMPTY.format(there='file, full, hidden, plain')}"),
        (["hidden"], f"init hidden: {NOT_EMPTY.format(there='.gitignore')}"),
        (["file"], "init file: this is a file. Choose another name."),
        (["file/under"], "init file/under: there is no folder file. Make it first."),
        (["no/such/folder"], "init no/such/folder: there is no folder no/such. Make it first."),
        (["a=b"], f"init a=b: {NO_NAME}"),
        (["a\0b"], f"init a\0b: {NO_NAME}"),
        (["dot."], f"init dot.: {NO_NAME}"),
        ([" x"], f"init  x: {NO_NAME}"),
        (["x" * 300], f"init {'x' * 300}: it cannot be written: File name too long. Choose another place."),
        (["2nd", "--example=plugin"], f"init 2nd: {NO_PACKAGE.format(name='2nd')}"),
        (["class", "--example=plugin"], f"init class: {NO_PACKAGE.format(name='class')}"),
        (["größer", "--example=plugin"], f"init größer: {NO_PACKAGE.format(name='größer')}"),
        (["torch", "--example=plugin"], "init torch: there is a Python package 'torch' already. Choose another name."),
        (["json", "--example=plugin"], "init json: there is a Python package 'json' already. Choose another name."),
    ],
)  # fmt: skip
def test_where_it_may_not_go_nothing_is_written(
    tmp_path: Path, words: list[str], fault: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abcdefg":
        write(f"full/{name}")
    write("plain/note")
    write("hidden/.gitignore")
    write("file")
    before = tree(tmp_path)
    assert main(["init", *words]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err == f"{fault}\n" if fault else said.err.startswith("init ..: the folder is not empty: ")
    assert tree(tmp_path) == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the modes of POSIX, which root need not mind")
def test_a_place_that_may_not_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked").mkdir(mode=0o500)
    assert main(["init", "locked/new"]) == 2
    assert capsys.readouterr().err == (
        "init locked/new: it cannot be written: Permission denied. Choose another place.\n"
    )


@pytest.mark.parametrize("name", ["new", "empty"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_cannot_be_finished_is_not_there(
    tmp_path: Path, name: str, error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full_disk(project: Path) -> str:
        raise error

    monkeypatch.setattr(init, "_schema", full_disk)
    Path("empty").mkdir()
    assert main(["init", name]) == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert tree(tmp_path) == {"empty": None}
    if isinstance(error, OSError):
        assert capsys.readouterr().err == (
            f"init {name}: it cannot be written: No space left on device. Choose another place.\n"
        )


def test_what_cannot_be_moved_whole_is_moved_back(tmp_path: Path) -> None:
    for path in ("beside/a", "beside/b/x", "beside/c/x", "into/c/y"):
        write(path)
    before = tree(tmp_path)
    with pytest.raises(OSError, match="not empty"):
        init._move(Path("beside"), Path("into"))
    assert tree(tmp_path) == before


def test_a_plugin_has_the_name_of_its_folder_in_every_place() -> None:
    assert main(["init", "loud-stages.x", "--example", "plugin"]) == 0
    made = Path("loud-stages.x")
    assert (made / "loud_stages_x/shout.py").is_file()
    for path in made.rglob("*"):
        assert "acme" not in path.name
        assert path.is_dir() or "acme" not in path.read_text(encoding="utf-8")
    assert '"loud_stages_x:shout/loud"' in (made / "example/pipelines/loud.yaml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_yaml_file_names_a_schema_that_is_there_and_fits_it(example: str) -> None:
    main(["init", "made", "--example", example])
    files = list(Path("made").rglob("*.yaml"))
    assert len(files) == (3 if example == "tool" else 2)
    for path in files:
        text = path.read_text(encoding="utf-8")
        first, second, *_ = text.splitlines()
        assert first == ("# @package resources.tools" if path.parent.name == "tools" else "# @package _global_")
        found = EDITOR_LINE.fullmatch(second)
        assert found
        schema = json.loads((path.parent / found["file"]).read_text(encoding="utf-8"))
        part = {**schema, **schema["$defs"][found["part"]]}
        data = yaml.safe_load(text)
        assert list(Draft202012Validator(part).iter_errors(data)) == []
        assert list(Draft202012Validator(part).iter_errors({**data, "grpah": {}}))
    assert sum(path.name == "schema.json" for path in Path("made").rglob("*")) == 1


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_command_of_the_readme_works(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the engine `echo` where the README runs a model. A package is built and unpacked as pip would install it."""
    main(["init", "made", "--example", example])
    monkeypatch.chdir("made")
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    lines = commands(Path("README.md").read_text(encoding="utf-8"))
    assert 4 <= len(lines) <= 6
    for line in lines:
        capsys.readouterr()
        match shlex.split(line):
            case ["vllm-flow", "check", *words]:
                assert main(["check", *words]) == 0
                said = capsys.readouterr()
                assert "no faults" in said.out
                assert said.err == ""
            case ["vllm-flow", "ls", name]:
                assert main(["ls", name]) == 0
                assert capsys.readouterr().out.startswith(f"{name}: ")
            case ["vllm-flow", *words]:
                assert main([*words, "engine=echo"]) == 0
                said = capsys.readouterr()
                assert said.out
                assert "warning" not in said.err
            case ["cd", folder]:
                monkeypatch.chdir(folder)
            case ["pip", "install", "-e", "."]:
                installed(tmp_path / "site", monkeypatch)
            case ["pytest"]:
                done = subprocess.run([Path(sys.executable).with_name("pytest")], capture_output=True, check=False)
                assert (done.returncode, done.stderr) == (0, b""), done.stdout.decode()
            case _:
                pytest.fail(f"nobody knows how to test: {line}")


def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hatchling.build import build_wheel

    built = build_wheel(str(site))
    zipfile.ZipFile(site / built).extractall(site)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.usefixtures("own_registry")
def test_the_words_of_the_riddle_are_crossed_out(capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "made"])
    os.chdir("made")
    capsys.readouterr()
    assert main(["pipeline=riddle", "input.text=Shall we go to Paris?", "engine=echo"]) == 0
    assert capsys.readouterr().out == "Shall we go to █████?\n"


@pytest.mark.usefixtures("own_registry")
def test_the_buses_are_answered_for_by_the_embedded_model(smollm2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "made", "--example", "tool"])
    os.chdir("made")
    capsys.readouterr()
    assert main(["experiment=morning"]) == 0
    airport, harbour, moon = sorted(capsys.readouterr().out.splitlines())  # they come as they are answered
    assert ("airport" in airport, "8:40" in airport) == (True, True)
    assert ("harbour" in harbour, "8:55" in harbour) == (True, True)
    assert moon == "There are buses to: airport, harbour, museum, station. Where do you want to go?"


@pytest.mark.usefixtures("own_registry")
def test_the_sweep_is_a_whole_sweep(tmp_path: Path) -> None:
    main(["init", "made", "--example", "sweep"])
    os.chdir("made")
    assert main(["experiment=temperatures", "engine=echo", "input.text=hi"]) == 0
    points = sorted(Path().glob("outputs/sweeps/*/*/[0-9]/config.yaml"))
    sampling = [yaml.safe_load(path.read_text(encoding="utf-8"))["sampling"] for path in points]
    assert [(one["temperature"], one["top_p"]) for one in sampling] == [
        (0.3, 0.7), (0.3, 0.95), (0.8, 0.7), (0.8, 0.95), (1.3, 0.7), (1.3, 0.95),
    ]  # fmt: skip
