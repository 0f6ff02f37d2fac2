"""`vllm-flow check`: each flag end to end, what it refuses, and how it says what it noticed."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
import yaml

from tests.cli.test_command import COMMAND, POSIX
from vllm_flow.cli import main
from vllm_flow.config import compose, groups
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.pipeline import Pipeline

FLAGS = "--config, --graph, --help, --json, --mermaid, --multirun, --plan, --sampling, --schema, --svg, -h, -m"
NO_FILE = (
    "--svg (command line): the file to write is missing. Write --svg FILE, or --svg=FILE for a name with - or = in it."
)
DIALOGUE = """\
○ turn                       given              Turn
│ ◇ store                    store/memory       MemoryStore
├─•─◆ context                context/full       Context
│ │ │ ○ sampling             given              SamplingPlan
├─┼─•─┴─◆ schedule           schedule/sampling  Schedule
│ │ │   │ ◇ engine           engine/echo        EchoEngine
├─┼─•───•─•─◆ prompt         fuse/chat          Prompt
│ │ │   ├─┴─┴─★ reply        infer/generate     Completion
╰─┴─┴───┴─────┴─■ remember   context/update     None

○ given  ◇ resource  ◆ value  ★ output  ■ effect  • joins  ┼ crosses
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["check", *words])
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--graph", "--json"], "--graph --json (command line): each of these flags shows something else. Choose one."),
        (["--svg", "a.svg", "--mermaid", "--config"], "--svg --mermaid --config (command line): each of these flags shows something else. Choose one."),
        (["--svg", "a.svg", "--svg=b.svg"], "--svg (command line): it is given 2 times. Choose one file."),
        (["--sampling", "--graph"], "--graph --sampling (command line): each of these flags shows something else. Choose one."),
        (["--sampling", "--svg", "a.svg", "--graph"], "--graph --svg --sampling (command line): each of these flags shows something else. Choose one."),
        (["--sampling", "--svg", "nowhere/a.svg"], "--svg (command line): nowhere/a.svg cannot be written: No such file or directory. Choose another place."),
        (["--svg"], NO_FILE),
        (["--svg="], NO_FILE),
        (["--svg", "engine=echo"], NO_FILE),
        (["--svg", "--graph"], NO_FILE),
        (["--svg", "nowhere/a.svg"], "--svg (command line): nowhere/a.svg cannot be written: No such file or directory. Choose another place."),
        (["--svg", "pipelines"], f"--svg (command line): pipelines cannot be written: {'Permission denied' if os.name == 'nt' else 'Is a directory'}. Choose another place."),
        (["--schema", "engine=echo", "seed=1"], "--schema (command line): it describes every configuration and takes no overrides. Leave out engine=echo seed=1."),
        (["--mermiad"], f"--mermiad (command line): there is no such flag. Did you mean '--mermaid'? Flags: {FLAGS}."),
        (["--graph=x"], f"--graph=x (command line): there is no such flag. Did you mean '--graph'? Flags: {FLAGS}."),
        (["dialogue"], "dialogue (command line): this is no override. Write key=value."),
        (["model.token=abc"], "model.token (command line): a secret is written out. Write ${secret:NAME}; it is read from the environment variable NAME when it is used."),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, *words) == (2, "", f"{line}\n")
    assert list(Path().iterdir()) == [Path("pipelines")]


@pytest.mark.parametrize("flag", ["--graph", "--mermaid", "--json", "--svg=a.svg", "--sampling"])
def test_what_cannot_run_is_not_drawn(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    fault = (
        "graph.reply.use (command line): there is no stage 'infer/generat'. Did you mean 'infer/generate'? There are: "
    )
    code, out, err = check(capsys, flag, "graph.reply.use=infer/generat")
    assert (code, out) == (2, "")
    assert err.startswith(fault)
    assert not Path("a.svg").exists()


def test_what_another_stage_left_over_is_told_with_what_leaves_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    native = ["pipeline=vqa", "engine=echo", "graph.described.use=fuse/native"]
    code, _, err = check(capsys, *native, "graph.described.image=1")
    assert code == 2
    assert (
        "there is no option 'undescribed'. Options: images, sounds. If it is left over from another stage, ~graph.described.undescribed leaves it out.\n"
    ) in err
    assert "'image'. Did you mean 'images'? Options: images, sounds.\n" in err
    gone = ["~graph.described.undescribed", "~graph.seen", "~graph.read"]
    assert check(capsys, *native, *gone)[0] == 0


def test_the_values_are_shown_even_so(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(capsys, "--config", "sampling.temperature=-1")
    assert (code, err) == (2, "sampling.temperature (command line): -1 does not fit. It takes a number of 0 or more.\n")
    assert yaml.safe_load(out)["sampling"]["temperature"] == -1


def test_the_graph_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    said = "dialogue: 5 nodes, output 'reply', no faults.\n"
    assert check(capsys, "--graph", "engine=echo") == (0, DIALOGUE + said, "")
    code, out, err = check(capsys, "--svg=a=b.svg", "engine=echo")
    assert (code, out, err) == (0, said, "")
    assert Xml.parse("a=b.svg").getroot().findtext("{http://www.w3.org/2000/svg}title") == "dialogue"
    code, out, err = check(capsys, "--mermaid", "engine=echo")
    assert (code, err) == (0, "")
    assert out.startswith('flowchart TB\n  n0_turn(["turn<br/>given<br/>Turn"]):::given\n')


FALL = "sampling.temperature={linear: {from: 1.0, to: 0.2, over: 8}}"


def test_what_is_planned_of_the_sampling_parameters_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--sampling", "engine=echo", "sampling.max_tokens=16", "sampling=plain", FALL)
    code, out, err = check(capsys, *words)
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["temperature  linear, token by token", "  1 ┤⠉⠉⠉⠉⠦⠤⠤⠤⡀"]
    assert out.splitlines()[-3:] == [
        "",
        "stays: max_tokens 16, top_p 0.9; all else is neutral",
        "dialogue: 5 nodes, output 'reply', no faults.",
    ]
    assert check(capsys, *words, "--svg", "a.svg") == (0, "dialogue: 5 nodes, output 'reply', no faults.\n", "")
    root = Xml.parse("a.svg").getroot()
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "dialogue"
    assert "temperature" in Path("a.svg").read_text(encoding="utf-8")
    nothing = "nothing moves; stays: max_tokens 192, temperature 0; all else is neutral\n"
    assert check(capsys, "--sampling", "engine=echo", "sampling=greedy")[1].startswith(nothing)


def test_a_plan_that_leaves_its_range_is_a_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "stages").mkdir()
    (folder / "stages" / "sink.py").write_text(
        "from vllm_flow import Now, schedule\n\n"
        '@schedule("check-sinks")\ndef sinks(now: Now) -> float:\n    """Sinks."""\n    return 0.1 - now.token / 10\n',
        encoding="utf-8",
    )
    words = ("engine=echo", "sampling.temperature=check-sinks")
    assert check(capsys, *words)[0] == 0
    line = "sampling.temperature: the schedule 'check-sinks' gave -0.1 at token 2. It takes a number of 0 or more.\n"
    assert check(capsys, "--sampling", *words) == (2, "", line)


@POSIX
@pytest.mark.parametrize(
    ("columns", "row"),
    [("54", "├─┼─•─┴─◆ schedule  schedule/sampling  Schedule"), ("20", "├─┼─•─┴─◆ schedule …")],
)
def test_a_terminal_gets_what_fits_it(columns: str, row: str) -> None:
    import pty

    near, far = pty.openpty()
    surroundings = {"COLUMNS": columns, "NO_COLOR": "1", "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    said, words = b"", [*COMMAND, "check", "--graph", "engine=echo"]
    with os.fdopen(near, "rb"), subprocess.Popen(words, stdout=far, env={**os.environ, **surroundings}):
        os.close(far)
        while not said.endswith(b"no faults.\r\n"):
            said += os.read(near, 1000)
    assert b"\x1b[1m schedul" in said
    lines = re.sub(r"\x1b\[\d+m", "", said.decode()).splitlines()
    assert lines[4] == row
    assert max(map(len, lines[:-1])) <= int(columns)


def test_what_was_noticed_is_a_warning_and_the_exit_code_stays_0(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pipelines" / "mine.yaml").write_text(
        "# @package _global_\n"
        "# Two inferences, one of them cold.\n"
        "defaults: [dialogue, _self_, override /store: sqlite]\n"
        "resources: {judge: {use: engine/echo}}\n"
        "sampling: {top_k: 5}\n"
        "graph:\n"
        '  prompt: {system: "It is ${now:%H:%M}."}\n'
        "  schedule: {set: {temperature: 0.7}}\n",
        encoding="utf-8",
    )
    words = ("pipeline=mine", "engine=echo", "model=qwen", "clock.zone=UTC", "sampling.temperature=0.7")
    lines = [
        "graph.schedule (pipelines/mine.yaml:8): its 'set' repeats what 'sampling' says. Leave it out, or set another value.",
        "model (command line): no resource reads 'model', so it changes nothing. Leave it out, or choose an engine that runs models.",
        "resources.judge (pipelines/mine.yaml:4): nothing in the graph reads 'judge', so it changes nothing. Leave it out, or add a stage that reads it.",
        "resources.clock.zone (command line): nothing in the graph reads 'clock', so it changes nothing. Leave it out, or add a stage that reads it.",
        "graph.prompt.system (pipelines/mine.yaml:7): ${now:%H:%M} is new in every run: no run repeats another, and in a prompt it defeats the prefix cache. Write a fixed value, and tell what changes in the turn.",
    ]
    for flag in ("--config", "--mermaid", "--svg=a.svg", "--graph", ""):
        code, _, err = check(capsys, *filter(None, [flag]), *words)
        assert (code, err) == (0, "".join(f"warning: {line}\n" for line in lines))
    code, out, err = check(capsys, "--json", *words)
    assert (code, json.loads(out)["warnings"], err) == (0, lines, "")


PICTURES = ("caption", "guide", "vqa")


def test_nothing_that_is_shipped_deserves_a_warning() -> None:
    known, refused = groups(), set()
    chosen = [("sampling", one) for one in known["sampling"]]
    chosen += [("experiment", one) for one in known["experiment"]]
    telling = [
        ("sampling", "diverse"),
        ("experiment", "page"),
    ]  # the others differ in numbers
    pairs = [*product(known["pipeline"], telling), *product(("dialogue", "story"), chosen)]
    for pipeline, (group, choice) in pairs:
        words, sampling = [f"pipeline={pipeline}", f"{group}={choice}"], choice if group == "sampling" else ""
        try:
            advice = Pipeline.build(compose(words)).advice
            draws_nothing = pipeline in (
                "perplexity",
                "adapt",
                "transcribe",
            )  # and says so of any sampling that is chosen for it
            told = [one for one in advice if not (draws_nothing and one.path == "sampling")]
            if pipeline in PICTURES:
                (undescribed,) = told  # it takes a describer, and there is none that everybody may have
                assert undescribed.problem.startswith("no describer is chosen, and the model reads only texts.")
                told = []
            if choice == "newest_media" and told:
                (unread,) = told
                assert unread.problem.startswith("the engine reads no images and no sounds.")
                told = []
            assert told == [], words
        except ConfigError:
            refused.add((pipeline, sampling))
    assert refused == {
        ("adaptive", "diverse"),
        ("caption", "diverse"),
        ("complete", "diverse"),
        ("dialogue", "diverse"),
        ("guide", "diverse"),
        ("judge", "diverse"),
        ("listen", "diverse"),
        ("news", "diverse"),
        ("recommend", "diverse"),
        ("review", "diverse"),
        ("story", "diverse"),
        ("support", "diverse"),
        ("tutor", "diverse"),
        ("vqa", "diverse"),
        ("weather", "diverse"),
        ("adapt", ""),
        ("complete", ""),
        ("perplexity", ""),
        ("transcribe", ""),
    }  # several answers where one is made, and a page where nothing reads it


def test_a_literal_secret_in_a_file_is_a_fault_that_does_not_repeat_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "# @package _global_\n# Mine.\ndefaults: [dialogue, _self_]\nmodel: {token: hf_12345}\n"
    (folder / "pipelines" / "mine.yaml").write_text(text, encoding="utf-8")
    problem = (
        "a secret is written out. Write ${secret:NAME}; it is read from the environment variable NAME when it is used."
    )
    for flag in ("--config", "--json"):
        said = check(capsys, flag, "pipeline=mine")
        assert said == (2, "", f"model.token (pipelines/mine.yaml:4): {problem}\n")


@pytest.mark.parametrize(
    ("flag", "name"),
    [("", r"\u540d"), ("--graph", r"* \u540d"), ("--mermaid", "#21517;"), ("--config", r'"\u540D"'), ("--json", r'"\u540d"')],
)  # fmt: skip
def test_a_stream_that_lacks_a_character_gets_it_escaped(
    flag: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pipelines" / "mine.yaml").write_text(
        "# @package _global_\n# Mine.\ndefaults: [/context: full, _self_]\ngraph:\n  名: {use: fuse/chat}\n"
        "  schedule: {use: schedule/sampling}\n  reply: {use: infer/generate, from: {prompt: 名}}\noutput: reply\n",
        encoding="utf-8",
    )
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["check", *filter(None, [flag]), "pipeline=mine", "engine=echo"]) == 0
    assert name in stream.buffer.getvalue().decode("ascii")


@POSIX
@pytest.mark.parametrize("flag", ["", "--schema"])  # less than the buffer of a pipe, and more
def test_a_reader_that_is_gone_is_no_error(flag: str) -> None:
    line = f"{{ '{sys.executable}' -m vllm_flow check {flag}; echo $? >&2; }} | true"
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    said = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=surroundings)
    assert said.stderr == "0\n"
