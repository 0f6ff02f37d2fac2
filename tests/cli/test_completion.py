"""Completion: what is offered where, and that Tab really completes in bash, zsh and fish."""

from __future__ import annotations

import dataclasses
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest

from tests import shipped
from tests.cli.test_command import POSIX
from vllm_flow.cli import COMMANDS, main
from vllm_flow.cli.completing.bash_line import BashLine
from vllm_flow.cli.completing.candidates import Candidate, candidates, help_of
from vllm_flow.cli.completing.key_tree import Leaf, below, dotted, key_tree
from vllm_flow.cli.completing.scripts import SCRIPTS
from vllm_flow.cli.listing import names
from vllm_flow.config.keys import WORDS
from vllm_flow.core import plugins, registry
from vllm_flow.core.options import schema_of
from vllm_flow.stores import Sqlite
from vllm_flow.testing.talk import asked

BREAKS = " \t\n\"'@><=;|&(:"
"""COMP_WORDBREAKS as bash has it at first."""
SHOUT = '''@stage("mine/shout")
@dataclass(frozen=True)
class Shout:
    """The reply in capitals."""

    where: Literal["front", "back"] = "back"
    twice: bool = False
    mark: str = "!"
    path: str = ""
'''
LOUD = "# @package _global_\n# Talk loudly.\ndefaults: [dialogue, _self_]\ngraph:\n  loud: {use: mine/shout}\noutput: loud\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in (("stages/shout.py", SHOUT), ("pipelines/loud.yaml", LOUD), ("my data/rows.jsonl", ""), ("a.jsonl", ""), (".hidden", "")):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def offered(line: str) -> list[str]:
    """The candidates for the last word of a line, which stands behind `vllm-flow`."""
    *words, current = line.split(" ")
    return sorted(one.text for one in candidates(words, current))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("context ", ["delete", "export", "fork", "import", "ls", "prune", "search", "show", "store.", "store=", "title"]),
        ("context store.path=kept.sqlite sh", ["show"]),
        ("context prune --dr", ["--dry-run"]),
        ("context prune store.k", ["store.keep_days="]),
        ("context import a", ["a.jsonl"]),
        ("context export a.jsonl b", ["bob"]),
        ("context show ", ["ann", "bob", "store.", "store="]),
        ("context show ann ", ["store.", "store="]),
        ("context delete ann ", ["bob", "store.", "store="]),
        ("context show store.path=nowhere.sqlite a", []),
        ("context show store.path=a.jsonl a", []),
        ("chat -c a", ["ann"]),
    ],
)  # fmt: skip
def test_conversations_are_offered_by_name(line: str, words: list[str]) -> None:
    store = Sqlite().open()
    for name in ("ann", "bob"):
        store.begin(asked(1, conversation=name))
    store.close()
    assert offered(line) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ch", ["chat", "check"]),
        ("comp", ["compare", "completion"]),
        ("init --ex", ["--example"]),
        ("init mine --example ", ["dialogue", "plugin", "sweep", "tool"]),
        ("samp", ["sampling.", "sampling="]),
        ("run samp", ["sampling.", "sampling="]),
        ("pipeline=", ["pipeline=adapt", "pipeline=adaptive", "pipeline=best_of", "pipeline=caption", "pipeline=complete", "pipeline=dialogue", "pipeline=guide", "pipeline=judge", "pipeline=listen", "pipeline=loud", "pipeline=most_likely", "pipeline=news", "pipeline=perplexity", "pipeline=recommend", "pipeline=review", "pipeline=story", "pipeline=support", "pipeline=transcribe", "pipeline=tutor", "pipeline=vqa", "pipeline=weather"]),
        ("chat sampling=gr", ["sampling=greedy"]),
        ("sampling=greedy,", ["sampling=greedy,annealed", "sampling=greedy,balanced", "sampling=greedy,creative", "sampling=greedy,diverse", "sampling=greedy,dynamic", "sampling=greedy,edt", "sampling=greedy,inventive", "sampling=greedy,mirostat", "sampling=greedy,plain", "sampling=greedy,warming"]),
        ("-m sampling=greedy,ba", ["sampling=greedy,balanced"]),
        ("experiment=", ["experiment=cold", "experiment=newest_media", "experiment=null", "experiment=page", "experiment=rated", "experiment=temps"]),
        ("+experiment=c", ["+experiment=cold"]),
        ("++seed", ["++seed="]),
        ("sampling.t", ["sampling.temperature=", "sampling.top_k=", "sampling.top_n_sigma=", "sampling.top_p=", "sampling.typical_p="]),
        ("sampling.top_k=", ["sampling.top_k=null"]),
        ("sampling.temperature=", []),
        ("sampling.temperature={li", ["sampling.temperature={linear: {from: 1.0, to: 0.2, over: 256}}"]),
        ("sampling.stop={li", []),
        ("ls warmu", ["warmup"]),
        ("model.p", ["model.package=", "model.path="]),
        ("model.architecture.h", ["model.architecture.head_dim=", "model.architecture.heads=", "model.architecture.hidden_size="]),
        ("engine.", ["engine.adapters=", "engine.compile=", "engine.deterministic=", "engine.device=", "engine.dtype=", "engine.kv_cache_gib=", "engine.max_rows=", "engine.max_waiting=", "engine.prefill_tokens=", "engine.prefix_cache_gib=", "engine.quantize=", "engine.threads="]),
        ("engine=echo engine.", []),
        ("engine=echo,transformers engine.dev", ["engine.device="]),
        ("engine.device=c", ["engine.device=cpu", "engine.device=cuda"]),
        ("resources.engine.device=m", ["resources.engine.device=mps"]),
        ("engine.device=cpu,cu", ["engine.device=cpu,cuda"]),
        ("store.", []),
        ("store=sqlite store.", ["store.keep_days=", "store.path=", "store.wait_s="]),
        ("input.", ["input.audio=", "input.image=", "input.path=", "input.text="]),
        ("input=text input.", ["input.audio=", "input.conversation=", "input.image=", "input.text="]),
        ("graph.", ["graph.context.", "graph.prompt.", "graph.remember.", "graph.reply.", "graph.schedule."]),
        ("graph.prompt.", ["graph.prompt.budget=", "graph.prompt.each=", "graph.prompt.shares=", "graph.prompt.system=", "graph.prompt.use=", "graph.prompt.when="]),
        ("graph.prompt.use=infer", ["graph.prompt.use=infer/generate", "graph.prompt.use=infer/sample", "graph.prompt.use=infer/tools"]),
        ("graph.prompt.use=pipeline/lo", []),
        ("graph.reply.logprobs=", ["graph.reply.logprobs=false", "graph.reply.logprobs=true"]),
        ("context=window context.t", ["context.tokens=", "context.turns="]),
        ("metrics=n", ["metrics=number"]),
        ("metrics=number metrics.", ["metrics.correct."]),
        ("metrics=number metrics.correct.", ["metrics.correct.after=", "metrics.correct.relative=", "metrics.correct.tolerance=", "metrics.correct.use="]),
        ("metrics=number metrics.correct.use=answer/e", ["metrics.correct.use=answer/exact"]),
        ("pipeline=best_of graph.reply.a", ["graph.reply.answer="]),
        ("pipeline=best_of output=c", ["output=candidates", "output=context"]),
        ("pipeline=loud graph.loud.", ["graph.loud.each=", "graph.loud.mark=", "graph.loud.path=", "graph.loud.twice=", "graph.loud.use=", "graph.loud.when=", "graph.loud.where="]),
        ("pipeline=loud graph.loud.where=", ["graph.loud.where=back", "graph.loud.where=front"]),
        ("pipeline=loud graph.loud.twice=t", ["graph.loud.twice=true"]),
        ("pipeline=loud graph.loud.path=a", ["graph.loud.path=a.jsonl"]),
        ("graph.prompt.use=mine", ["graph.prompt.use=mine/shout"]),
        ("conc", ["concurrency="]),
        ("input.path=", ["input.path=a.jsonl", "input.path=my data/", "input.path=pipelines/", "input.path=stages/"]),
        ("input.path=pipelines/", ["input.path=pipelines/loud.yaml"]),
        ("input.path=.h", ["input.path=.hidden"]),
        ("input.path=nowhere/", []),
        ("input.path=~nobody/", []),
        ("input.text=", []),
        ("input.text=@a", ["input.text=@a.jsonl"]),
        ("model.path=sta", ["model.path=stages/"]),
        ("check --s", ["--sampling", "--schema", "--svg"]),
        ("check --svg a", ["a.jsonl"]),
        ("check --svg=a", ["--svg=a.jsonl"]),
        ("chat -", ["--continue", "--help", "-c"]),
        ("chat -c -", ["--continue", "--help"]),
        ("-", ["--fail-fast", "--help", "--json", "--version", "-m"]),
        ("check eng", ["engine.", "engine="]),
        ("models ", ["ls", "pull"]),
        ("models pull ", ["imagenet", "minilm", "smollm2", "whisper-tiny.en"]),
        ("models pull smollm2 ", []),
        ("models --", ["--help", "--json"]),
        ("ls model", ["model.adapter", "model.architecture.config", "model.architecture.family", "model.architecture.head_dim", "model.architecture.heads", "model.architecture.hidden_size", "model.architecture.intermediate_size", "model.architecture.kv_heads", "model.architecture.layers", "model.architecture.max_context", "model.architecture.seed", "model.architecture.vocab_size", "model.context_length", "model.gguf", "model.hub", "model.layers", "model.name", "model.package", "model.path", "model.revision", "model.served", "model.token", "models"]),
        ("ls sto", ["store/memory", "store/sqlite", "stores", "story"]),
        ("ls mine", ["mine/shout"]),
        ("ls stages ea", ["each"]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("completion bash ", []),
        ("nonsense", []),
        ("nonsense=", []),
        ("graph.prompt=", []),
        ("graph.nothing.", []),
        (".", []),
    ],
)  # fmt: skip
def test_what_is_offered(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_at_the_start_commands_and_keys_are_offered_each_with_its_line() -> None:
    found = {one.text: one for one in candidates([], "")}
    assert set(COMMANDS) < set(found)
    assert {"pipeline=", "sampling.", "graph.", "seed="} < set(found)
    assert [text for text, one in found.items() if not one.line and one.text not in ("clock.", "context.")] == []
    assert found["pipeline="].line == f"one of: {shipped.pipelines('loud')}"
    assert (
        found["engine."].line
        == "device, dtype, quantize, compile, threads, deterministic, max_rows, max_waiting, prefill_tokens, kv_cache_gib, prefix_cache_gib, "
        "adapters"
    )


def test_a_word_that_goes_on_is_told_from_one_that_is_complete() -> None:
    assert {text: Candidate(text).is_open for text in ("seed=", "sampling.", "data/", "greedy", "a.jsonl")} == {
        "seed=": True, "sampling.": True, "data/": True, "greedy": False, "a.jsonl": False,
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_is_found_where_it_is_written(command: str) -> None:
    assert help_of(command) == import_module(f"vllm_flow.cli.{command}").HELP


def test_the_options_offered_are_those_of_the_classes() -> None:
    """The shipped schema is what completion reads; the classes are what counts."""
    plugins.load_built_in()
    stages = [one for one in registry.stage if one.cls.__module__.startswith("vllm_flow.")]
    for entry in stages:
        Path("pipelines/one.yaml").write_text(f"# @package _global_\ngraph: {{x: {{use: {entry.name}}}}}\n")
        found = below(key_tree({"pipeline": "one"}), ("graph", "x"))
        assert set(found) - {"use", "when", "each"} == set(schema_of(entry.cls)["properties"])


@pytest.mark.parametrize(
    "choices", [{}, {"engine": "transformers", "store": "sqlite", "clock": "fixed", "input": "text"}]
)
def test_what_can_be_completed_can_be_explained(choices: dict[str, str]) -> None:
    plugins.load_built_in()
    known = {name for name, _ in dotted(key_tree(choices)) if not name.startswith(("graph.", "resources."))}
    explained = set(names.keys())
    assert {name for name in known if name.rpartition(".")[2] not in WORDS} <= explained
    always = {name for name in explained if name.partition(".")[0] in ("sampling", "model", "seed", "concurrency", "output")}  # fmt: skip
    always -= {"model.architecture"}  # completed by its own keys
    assert always <= known


def test_of_an_option_that_is_taken_whole_from_elsewhere_nothing_is_offered() -> None:
    assert "model" not in below(key_tree({"engine": "transformers"}), ("engine",))
    assert isinstance(below(key_tree({}), ("engine",))["device"], Leaf)


@pytest.mark.parametrize(
    ("line", "words", "current", "kept", "quote"),
    [
        ("vllm-flow ", (), "", 0, ""),
        ("vllm-flow samp", (), "samp", 0, ""),
        ("vllm-flow -m sampling=gr", ("-m",), "sampling=gr", 9, ""),
        ("vllm-flow sampling=greedy,ba", (), "sampling=greedy,ba", 9, ""),
        ("vllm-flow a=b c=d:e", ("a=b",), "c=d:e", 4, ""),
        ("vllm-flow input.text=@f", (), "input.text=@f", 11, ""),
        ("vllm-flow input.path=my\\ da", (), "input.path=my da", 11, ""),
        ("vllm-flow input.path='my da", (), "input.path=my da", 11, "'"),
        ('vllm-flow input.path="my \\" da', (), 'input.path=my " da', 11, '"'),
        ("vllm-flow 'sampling=gr", (), "sampling=gr", 0, "'"),
        ("vllm-flow input.text='a b' samp", ("input.text=a b",), "samp", 0, ""),
        ("vllm-flow ls '' x", ("ls", ""), "x", 0, ""),
        ("X=1 ./bin/vllm-flow  ls\tst", ("ls",), "st", 0, ""),
        ("vllm-flow ls \\", ("ls",), "", 0, ""),
    ],
)
def test_a_line_of_bash_is_read_as_bash_reads_it(
    line: str, words: tuple[str, ...], current: str, kept: int, quote: str
) -> None:
    assert BashLine.of(BREAKS, line) == BashLine(words, current, kept, quote)


def test_where_words_break_is_bashs_to_say() -> None:
    assert BashLine.of(" \t\n", "vllm-flow sampling=gr").kept == 0


@pytest.mark.parametrize(
    ("line", "candidate", "written"),
    [
        ("vllm-flow samp", "sampling=", "sampling="),
        ("vllm-flow sampling=gr", "sampling=greedy", "greedy "),
        ("vllm-flow input.path=", "input.path=my data/", "my\\ data/"),
        ("vllm-flow input.path=", "input.path=it's $5 & é.txt", "it\\'s\\ \\$5\\ \\&\\ é.txt "),
        ("vllm-flow input.path='my", "input.path=my data/it's", "my data/it'\\''s"),
        ('vllm-flow input.path="my', 'input.path=my "$5"', 'my \\"\\$5\\"'),
    ],
)
def test_bash_gets_what_it_is_to_write(line: str, candidate: str, written: str) -> None:
    assert BashLine.of(BREAKS, line).replacement(Candidate(candidate)) == written


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_shell_has_its_script(shell: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["completion", shell]) == 0
    assert capfdbinary.readouterr() == (SCRIPTS[shell].encode(), b"")


def test_help_says_for_each_shell_how_it_is_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == main(["completion", "--help"]) == 0
    text = capsys.readouterr().out
    for shell, file in (("bash", "~/.bashrc"), ("zsh", "~/.zshrc"), ("fish", "~/.config/fish/config.fish")):
        (line, _) = (line for line in text.splitlines() if line.startswith(f"  {shell} "))
        assert f"vllm-flow completion {shell}" in line
        assert line.endswith(f">> {file}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["zhs"], "completion zhs: it takes one shell. Did you mean 'zsh'? There are: bash, fish, zsh."),
        (["bash", "zsh"], "completion bash zsh: it takes one shell. There are: bash, fish, zsh."),
        (["--wrods"], "--wrods (command line): there is no such flag. Flags: --help, -h."),
    ],
)
def test_a_shell_that_is_not_there_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", *words]) == 2
    assert capsys.readouterr() == ("", f"{line}\n")


BROKEN = {
    "pipelines/loud.yaml": "graph: [",
    "conf/sampling/odd.yaml": "\0",
    "stages/shout.py": '@stage("mine/shout"\n',
    "conf/engine/odd.yaml": "# @package resources.engine\n# Odd.\n- a list\n",
}


@pytest.mark.parametrize("given", [["fish", "sam"], ["bash", BREAKS, "vllm-flow sam"], ["zsh", "pipeline=loud", "sam"]])
def test_a_broken_project_completes_as_far_as_it_goes(
    given: list[str], project: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for name, text in BROKEN.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    assert main(["completion", "--words", *given]) == 0
    said = capfdbinary.readouterr()
    assert [line.partition(b"\t")[0] for line in said.out.splitlines()] == [b"sampling=", b"sampling."]
    assert said.err == b""


@pytest.mark.parametrize(
    "given",
    [[], ["bash"], ["bash", BREAKS], ["fish"], ["elvish", "x"], ["fish", "\udcff="], ["fish", "input.path=\0/"]],
)
def test_whatever_is_asked_nothing_is_said_but_words(
    given: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["completion", "--words", *given]) == 0
    assert capfdbinary.readouterr() == (b"", b"")


def test_a_folder_that_is_gone_is_no_reason_to_complain(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\nfrom vllm_flow.cli import main\n"
        "folder = pathlib.Path('gone'); folder.mkdir(); os.chdir(folder); os.rmdir(os.getcwd())\n"
        "sys.exit(main(['completion', '--words', 'fish', 'sam']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_answers_without_hydra_stages_or_a_model_library() -> None:
    code = (
        "import sys\nfrom vllm_flow.cli import main\n"
        "codes = [main(['completion', '--words', 'fish', *words])"
        " for words in (['s'], ['pipeline=best_of', 'graph.reply.'], ['ls', 's'], ['check', '--'], ['models', 'pull', ''])]\n"
        "heavy = {'torch', 'transformers', 'hydra', 'omegaconf', 'jsonschema', 'rich', 'asyncio', 'apsw'}\n"
        "heavy = {*heavy, 'vllm_flow.stages', 'vllm_flow.core.pipeline'} & set(sys.modules)\n"
        "assert codes == [0] * 5 and not heavy, (codes, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "graph.reply.answer=\t" in done.stdout


@dataclasses.dataclass
class Terminal:
    """A shell that somebody types into, and the words with which `vllm-flow` was called in it."""

    descriptor: int
    record: Path
    screen: bytes = b""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def read(self, seconds: float) -> None:
        while select.select([self.descriptor], [], [], seconds)[0]:
            try:
                self.screen += os.read(self.descriptor, 4096)
            except OSError:
                return
            seconds = 0

    def ran(self, calls: int) -> list[list[str]]:
        """The words of each of so many calls."""
        ends = time.monotonic() + 60
        while (text := self.record.read_text(encoding="utf-8")).count("\n") < calls:
            assert time.monotonic() < ends, (text, self.screen.decode(errors="replace"))
            self.read(0.05)
        return [line.split("|")[:-1] for line in text.splitlines()]


@contextmanager
def terminal(shell: str, folder: Path) -> Iterator[Terminal]:
    """The shell as its user has it, with our script set up as `completion --help` says."""
    import pty

    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    home, record = folder / "home", folder / "home" / "record"
    (home / "bin").mkdir(parents=True)
    record.touch()
    command = home / "bin" / "vllm-flow"
    python = f'exec "{sys.executable}" -m vllm_flow "$@"'
    command.write_text(f"""#!/bin/sh
if [ "$1" = completion ]; then {python}; fi
printf '%s|' "$@" >> "{record}"; echo >> "{record}"
""")
    command.chmod(0o755)
    setup = {
        "bash": (".bashrc", 'eval "$(vllm-flow completion bash)"\n'),
        "zsh": (".zshrc", 'autoload -Uz compinit && compinit -u\neval "$(vllm-flow completion zsh)"\n'),
        "fish": (".config/fish/config.fish", "vllm-flow completion fish | source\n"),
    }
    name, text = setup[shell]
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text(text)
    root = str(Path(__file__).parents[2])
    environment = {
        "HOME": str(home), "ZDOTDIR": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "TERM": "xterm",
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": root, "LANG": "C.UTF-8",
    }  # fmt: skip
    child, descriptor = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(program, [shell, "-i"], environment)
    try:
        yield Terminal(descriptor, record)
    finally:
        os.close(descriptor)
        os.waitpid(child, 0)


@POSIX
@pytest.mark.parametrize("shell", SCRIPTS)
def test_tab_completes_in_a_real_shell(shell: str, project: Path) -> None:
    typed = {
        "che\t eng\t=ec\t --sv\ta\t": ["check", "engine=echo", "--svg", "a.jsonl"],
        "-m sampling=greedy,ba\tseed=1": ["-m", "sampling=greedy,balanced", "seed=1"],
        "pipeline=lo\tgraph.lo\twhe\tr\tf\t": ["pipeline=loud", "graph.loud.where=front"],
        "input.path=my\tr\tinput.te\t@a\t": ["input.path=my data/rows.jsonl", "input.text=@a.jsonl"],
        "ls mine/\tsampling.te\t": ["ls", "mine/shout", "sampling.temperature"],
        "mod\ts pu\tsm\t": ["models", "pull", "smollm2"],
    }
    with terminal(shell, project) as screen:
        for calls, (line, words) in enumerate(typed.items(), 1):
            screen.type(f"vllm-flow {line}\r")
            assert screen.ran(calls)[-1] == words
