"""The command as a person meets it, in an empty folder: what it prints, what it leaves, and how its process ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import shipped
from tests.command import flow

pytestmark = pytest.mark.usefixtures("own_registry")
COMMAND = [sys.executable, "-m", "vllm_flow"]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and modes are those of POSIX")


def as_process(folder: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    return subprocess.run(
        [*COMMAND, *words], cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False, **options
    )


def only_run(folder: Path) -> Path:
    (found,) = folder.glob("outputs/runs/*/*")
    return found


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_help_names_every_command_and_version_is_one_line(tmp_path: Path) -> None:
    said = flow(tmp_path, "--help")
    assert said.returncode == 0
    assert [
        word
        for word in (
            "run",
            "chat",
            "context",
            "check",
            "init",
            "ls",
            "models",
            "report",
            "judge",
            "replay",
            "compare",
            "completion",
        )
        if f"\n  {word} " not in said.stdout
    ] == []
    assert flow(tmp_path, "--version").stdout == "vllm-flow 0.1.0\n"
    for command in (
        "run",
        "chat",
        "context",
        "check",
        "init",
        "ls",
        "models",
        "report",
        "judge",
        "replay",
        "compare",
        "completion",
    ):
        assert flow(tmp_path, command, "--help").stdout.startswith(
            f"usage: vllm-flow {'[run]' if command == 'run' else command}"
        )


def test_neither_help_nor_check_nor_ls_imports_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom vllm_flow.cli import main\n"
        "codes = [main(words) for words in (['--help'], ['check'], ['ls'], ['models', 'ls'])]\n"
        "heavy = {'torch', 'transformers', 'PIL', 'soundfile'} & set(sys.modules)\n"
        "assert codes == [0] * 4 and not heavy, (codes, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_sample_conversation_is_answered_and_recorded(tmp_path: Path) -> None:
    said = as_process(tmp_path, "pipeline=dialogue", "engine=echo")
    assert said.returncode == 0
    assert said.stdout.splitlines() == [
        "What is the capital of France?",
        "Name one famous building in that city.",
        "Why do so many people visit it?",
    ]
    folder = only_run(tmp_path)
    assert f"3 turns answered: {folder.relative_to(tmp_path)}" in said.stderr
    assert said.stderr.count("\n  vllm-flow ") == 3
    assert {path.name for path in folder.iterdir()} == {
        ".hydra", ".lock", "calls.jsonl", "commits.jsonl", "config.yaml", "events.jsonl", "results.jsonl", "run.json", "timings.jsonl",
    }  # fmt: skip
    assert [(row["turn"], row["value"]["text"]) for row in rows(folder / "results.jsonl")] == [
        (1, "What is the capital of France?"),
        (2, "Name one famous building in that city."),
        (3, "Why do so many people visit it?"),
    ]
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (run["status"], run["turns"]) == ("finished", {"answered": 3, "failed": 0, "stored": 0})


@POSIX
def test_a_record_is_its_owners_alone(tmp_path: Path) -> None:
    as_process(tmp_path, "engine=echo")
    modes = {path.name: path.stat().st_mode & 0o077 for path in only_run(tmp_path).rglob("*")}
    assert set(modes.values()) == {0}


def test_the_same_request_leaves_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        flow(tmp_path / name, "engine=echo", "pipeline=best_of", "sampling.n=3")
    first, second = (only_run(tmp_path / name) for name in ("one", "two"))
    assert (first / "results.jsonl").read_bytes() == (second / "results.jsonl").read_bytes()


def test_lines_from_a_pipe_are_answered_and_json_is_what_the_record_holds(tmp_path: Path) -> None:
    said = as_process(tmp_path, "input=stdin", "engine=echo", "--json", input="hi\nthere\n")
    assert said.returncode == 0
    assert said.stdout == (only_run(tmp_path) / "results.jsonl").read_text(encoding="utf-8")
    assert [row["value"]["text"] for row in map(json.loads, said.stdout.splitlines())] == ["hi", "there"]


def test_free_text_needs_no_quoting(tmp_path: Path) -> None:
    text = "Hi, {you}: a=b, ça va? 明天北京天气怎么样？ 'yes' \"no\""
    assert flow(tmp_path, "engine=echo", f"input.text={text}").stdout == f"{text}\n"


def test_rows_that_cannot_be_read_fail_alone_and_the_exit_code_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"id": "a", "messages": [{"role": "user", "content": "one"}]}\n{"id": }\n'
        '{"conversation": "b", "text": "two"}\n',
        encoding="utf-8",
    )
    said = flow(tmp_path, "engine=echo", "input.path=rows.jsonl")
    assert said.returncode == 1
    assert sorted(said.stdout.split()) == ["one", "two"]
    assert "rows.jsonl:2" in said.stderr
    assert [row["failure"] is None for row in rows(only_run(tmp_path) / "results.jsonl")] == [True, False, True]


def test_columns_of_a_file_make_the_questions_and_each_may_be_asked_again(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('question,answer\n"one, two",3\nbroken\nfour,5\n', encoding="utf-8")
    words = ["input.path=rows.csv", "input.text=Q: {question}", "input.reference=answer", "sweep.repeat=2"]
    assert flow(tmp_path, "check", "engine=echo", *words).returncode == 0
    said = flow(tmp_path, "engine=echo", *words)
    assert said.returncode == 1
    assert sorted(said.stdout.splitlines()) == ["Q: four", "Q: four", "Q: one, two", "Q: one, two"]
    assert "rows.csv:3: it has 1 of 2 fields." in said.stderr
    found = [(row["index"], row["sample"], row.get("reference")) for row in rows(only_run(tmp_path) / "results.jsonl")]
    assert found == [(0, 0, "3"), (1, 1, "3"), (2, 0, None), (4, 0, "5"), (5, 1, "5")]


def test_a_sweep_runs_every_point_in_its_own_folder(tmp_path: Path) -> None:
    said = as_process(tmp_path, "-m", "engine=echo", "sampling.temperature=0.2,1.0", "input.text=hi")
    assert said.returncode == 0, said.stderr
    points = sorted(tmp_path.glob("outputs/sweeps/*/*/[0-9]"))
    assert [point.name for point in points] == ["0", "1"]
    seen = [json.loads((point / "run.json").read_text(encoding="utf-8"))["status"] for point in points]
    assert seen == ["finished", "finished"]
    assert "temperature: 0.2" in (points[0] / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["chekc"], "vllm-flow: there is no command 'chekc'. Did you mean 'check'? Commands: chat, check, compare, completion, context, init, judge, ls, models, replay, report, resume, run; overrides are written key=value."),
        (["ls", "modles"], "ls modles: nothing has this name. Did you mean 'models'? Kinds: clocks, contexts, documents, embedders, engines, experiments, facts, functions, inputs, keys, measures, media, metrics, models, pipelines, plugins, readers, resources, retrievals, samplings, schedules, sources, stages, stores, taggers, tools, transcribers, webs, words; `vllm-flow ls KIND` lists the names."),
        (["completion", "zhs"], "completion zhs: it takes one shell. Did you mean 'zsh'? There are: bash, fish, zsh."),
        (["check", "--jsn"], "--jsn (command line): there is no such flag. Did you mean '--json'? Flags: --config, --graph, --help, --json, --mermaid, --multirun, --plan, --sampling, --schema, --svg, -h, -m."),
        (["models", "pul"], "models pul: there is no such verb. Did you mean 'pull'? There are: ls, pull."),
        (["models", "pull", "smolm2"], "models pull smolm2: there are no such weights. Did you mean 'smollm2'? There are: imagenet, minilm, smollm2, whisper-tiny.en."),
        (["models", "pull"], "models pull: it takes one name. There are: imagenet, minilm, smollm2, whisper-tiny.en."),
        (["sampling.temprature=1"], "sampling.temprature (command line): there is no option 'temprature'. Did you mean 'temperature'? Options: bad_words, dry_allowed_length, dry_base, dry_multiplier, dry_sequence_breakers, end_bias, epsilon_cutoff, frequency_penalty, logit_bias, max_tokens, min_p, min_tokens, n, presence_penalty, repetition_penalty, stop, stop_token_ids, temperature, top_k, top_n_sigma, top_p, typical_p, xtc_probability, xtc_threshold."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path: Path, words: list[str], line: str) -> None:
    said = flow(tmp_path, *words)
    assert (said.returncode, said.stdout, said.stderr) == (2, "", f"{line}\n")
    assert not (tmp_path / "outputs").exists()


def test_a_model_that_is_not_there_fails_the_run_in_one_line(tmp_path: Path) -> None:
    said = flow(tmp_path, "model=qwen", "model.path=nowhere", "input.text=hi")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        "vllm-flow: model.path: nowhere: there is no such folder. Give one with config.json and .safetensors in it.\n"
    )
    assert json.loads((only_run(tmp_path) / "run.json").read_text(encoding="utf-8"))["status"] == "failed"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    said = flow(tmp_path, "engine=echo", "hydra.run.dir=file/run")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == (
        "vllm-flow: file/run: the job's folder cannot be written: Not a directory. "
        "Free space, or choose hydra.run.dir (hydra.sweep.dir for sweeps).\n"
    )


def test_check_prints_the_table_of_values(tmp_path: Path) -> None:
    said = flow(tmp_path, "check", "pipeline=best_of")
    assert said.returncode == 0
    assert "candidates\tinfer/sample\tprompt, schedule, engine\ttuple[Completion, ...]\n" in said.stdout
    assert said.stdout.endswith("best_of: 6 nodes, output 'reply', no faults.\n")
    assert json.loads(flow(tmp_path, "check", "--json").stdout)["output"] == "reply"
    assert not (tmp_path / "outputs").exists()


def test_ls_lists_the_shipped_pipelines(tmp_path: Path) -> None:
    shown = json.loads(flow(tmp_path, "ls", "--json").stdout)
    assert tuple(sorted(shown["pipelines"])) == shipped.PIPELINES


@POSIX
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_run_ends_its_record_as_interrupted(tmp_path: Path, number: int, code: int) -> None:
    words = [
        "model=custom",
        "sampling.max_tokens=1900",
        "sampling.min_tokens=1900",
        "input.text=hi",
        "store=sqlite",
        "store.path=kept.sqlite",
    ]
    with subprocess.Popen([*COMMAND, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.send_signal(number)
        assert process.wait(20) == code
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert json.loads((only_run(tmp_path) / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"
    again = flow(tmp_path, "check", "store=sqlite", "store.path=kept.sqlite")
    assert again.returncode == 0


SLOW = """import time
from dataclasses import dataclass
from vllm_flow.core.registry import resource
from vllm_flow.engines.echo import Echo, EchoEngine

@resource("engine/slow", shared=True)
@dataclass(frozen=True)
class Slow(Echo):
    '''Takes a minute to load.'''

    def open(self) -> EchoEngine:
        print("loading", flush=True)
        time.sleep(60)
        return EchoEngine()
"""


@POSIX
@pytest.mark.parametrize(
    ("command", "number"), [("run", signal.SIGINT), ("run", signal.SIGTERM), ("chat", signal.SIGINT)]
)
def test_an_interruption_while_the_model_loads_is_heard_at_once(tmp_path: Path, command: str, number: int) -> None:
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    words = [command, "engine=echo", "plugins.slow=slow.py", "resources.engine.use=engine/slow"]
    with subprocess.Popen([*COMMAND, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loading\n"
        process.send_signal(number)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"\nInterrupted.\n"
    assert json.loads((only_run(tmp_path) / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"


@POSIX
def test_a_killed_run_leaves_a_readable_record(tmp_path: Path) -> None:
    words = ["model=custom", "sampling.max_tokens=1900", "sampling.min_tokens=1900", "input.text=hi"]
    with subprocess.Popen(
        [*COMMAND, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.kill()
    folder = only_run(tmp_path)
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"] == "running"
    assert [row["event"] for row in rows(folder / "events.jsonl")] == ["turn started", "context"]


def test_a_piped_line_is_answered_before_the_next_one_comes(tmp_path: Path) -> None:
    words = ["engine=echo", "input=stdin"]
    with subprocess.Popen([*COMMAND, *words], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.wait(20) == 0


@POSIX
def test_ctrl_c_is_heard_while_a_pipe_is_waited_for(tmp_path: Path) -> None:
    words = ["engine=echo", "input=stdin"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*COMMAND, *words], cwd=tmp_path, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b"\nInterrupted.\n"
    assert json.loads((only_run(tmp_path) / "run.json").read_text(encoding="utf-8"))["status"] == "interrupted"


@POSIX
def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"conversation": f"c{i}", "text": "word " * 200}) + "\n" for i in range(300)),
        encoding="utf-8",
    )
    line = f"'{sys.executable}' -m vllm_flow engine=echo input.path=rows.jsonl | head -n 1"
    said = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.stdout.startswith("word word")
    assert "Traceback" not in said.stderr


@POSIX
@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.full)])
def test_no_acknowledged_turn_is_lost_or_doubled_by_kills(tmp_path: Path, kills: int) -> None:
    """A turn is acknowledged when its reply has been printed. Each kill hits a chat somewhere in the middle."""
    import random

    from vllm_flow.stores.sqlite import Sqlite

    chance, acknowledged = random.Random(0), []
    words = ["chat", "-c", "engine=echo", "store.path=kept.sqlite"]
    flow(tmp_path, "chat", "engine=echo", "store.path=kept.sqlite", typed="start\n")
    acknowledged.append("start")
    for kill in range(kills):
        lines = [f"k{kill}-{i}" for i in range(400)]
        with subprocess.Popen(
            [*COMMAND, *words], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("".join(f"{line}\n" for line in lines).encode())
            process.stdin.flush()
            acknowledged.append(process.stdout.readline().decode().strip())
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            acknowledged += process.stdout.read().decode().split("\n")[:-1]
    store = Sqlite(str(tmp_path / "kept.sqlite")).open()
    turns = store.turns(store.last_conversation() or "")
    store.close()
    replies = [one.reply.text for one in turns if one.reply is not None]
    assert [text for text in acknowledged if replies.count(text) != 1] == []
    assert len(acknowledged) > kills
    assert len(replies) == len(set(replies))
    assert [one.turn.number for one in turns] == list(range(1, len(turns) + 1))


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "words", [["--version"], ["ls", "stages"], ["engine=echo", "input.text=hi"], ["engine=echo", "input.text=hi", "--json"]]
)  # fmt: skip
def test_an_output_without_room_is_one_line(tmp_path: Path, words: list[str]) -> None:
    with FULL.open("w") as full:
        said = subprocess.run(
            [*COMMAND, *words], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert said.returncode == 1
    assert said.stderr == "vllm-flow: the output: No space left on device. Free space, or name another place.\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_text_is_printed_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    words = ["engine=echo", "input.text=é → 🚢"]
    said = flow(tmp_path, *words, encoding=encoding)
    shown = "é → 🚢".encode(encoding, "backslashreplace").decode(encoding)
    assert (said.returncode, said.stdout) == (0, f"{shown}\n")
    assert json.loads(flow(tmp_path, *words, "--json", encoding=encoding).stdout)["value"]["text"] == "é → 🚢"


def test_a_process_prints_what_the_encoding_of_its_surroundings_cannot_say(tmp_path: Path) -> None:
    surroundings = {**os.environ, "PYTHONIOENCODING": "ascii"}
    said = as_process(tmp_path, "engine=echo", "input.text=é → 🚢", env=surroundings)
    assert (said.returncode, said.stdout) == (0, "\\xe9 \\u2192 \\U0001f6a2\n")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_during_a_run_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("results.jsonl", "vllm-flow.log"):
        (folder / name).symlink_to(FULL)
    said = flow(tmp_path, "engine=echo", "input.text=hi", "hydra.run.dir=run")
    assert (said.returncode, said.stdout) == (1, "hi")
    assert said.stderr == (
        f"vllm-flow: {folder}: the record cannot be written: No space left on device. "
        "Free space, or choose another folder: hydra.run.dir, or record=… in Python.\n"
    )
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"] == "failed"
