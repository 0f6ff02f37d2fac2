"""A person's own project, with the wheel alone: a folder of theirs, run by the unpacked wheel and never by the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from vllm_flow.cli.init import EXAMPLES, commands

DRIVER = """
import contextlib, io, json, sys
import vllm_flow.cli
assert vllm_flow.__file__.startswith(sys.argv[1]), vllm_flow.__file__
told = []
for words in json.loads(sys.argv[2]):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\\n") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = vllm_flow.cli.main(words)
    for stream in (out, err):
        stream.seek(0)
    told.append([code, out.read(), err.read()])
json.dump(told, sys.stdout)
"""
HEAD = "# @package {place}\n# yaml-language-server: $schema={schema}\n# {comment}\n"
SHOUT = '''"""A stage of the project, and a file beside it."""

from dataclasses import dataclass, replace
from typing import Annotated

from vllm_flow import Completion, stage
from vllm_flow.core.options import at_least

from .marks import MARK


@stage("own/shout")
@dataclass(frozen=True)
class Shout:
    """The reply in capitals."""

    times: Annotated[int, at_least(1)] = 1

    def run(self, reply: Completion) -> Completion:
        return replace(reply, text=reply.text.upper() + MARK * self.times)
'''
FILES = {
    "conf/model/tiny.yaml": "# @package model\n# A model of ours.\ndefaults: [custom, _self_]\nname: tiny\n",
    "conf/sampling/balanced.yaml": (
        "# @package sampling\n# Warmer than the shipped one.\n"
        "defaults: [/shipped/sampling/balanced, _self_]\ntemperature: 0.8\n"
    ),
    "conf/sampling/greedy.yaml": "# @package sampling\n# In place of the shipped one.\ntemperature: 0\nmax_tokens: 3\n",
    "conf/experiment/loudest.yaml": (
        "# @package _global_\n# As loud as can be.\ndefaults:\n  - override /pipeline: loud\n"
        "  - override /sampling: greedy\ngraph:\n  loud: {times: 5}\nseed: 3\n"
    ),
    "conf/local/default.yaml": "# @package _global_\n# This machine.\ndefaults: [override /engine: echo]\n",
    "pipelines/loud.yaml": (
        "# @package _global_\n# Talk loudly.\ndefaults: [dialogue, _self_]\n"
        "graph:\n  loud: {use: own/shout, times: 2}\noutput: loud\n"
    ),
    "pipelines/loud.jsonl": '{"conversation": "a", "text": "one two three four"}\n',
    "stages/shout.py": SHOUT,
    "stages/marks.py": 'MARK = "!"\n',
    "stages/broken.py": '@stage("own/broken")\n1 / 0\n',
}


class Said(NamedTuple):
    code: int
    out: str
    err: str


def flow(unpacked: Path, folder: Path, *lines: Sequence[str], site: Path | None = None) -> list[Said]:
    """What the wheel's command says to each of these lines, one after the other, in one process."""
    path = [str(unpacked), *([str(site)] if site else [])]
    code = f"import sys; sys.path[:0] = {path!r}\n{DRIVER}"
    alone = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VLLM_FLOW_PROJECT")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(unpacked), json.dumps(lines)],
        cwd=folder, env=alone, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [Said(*one) for one in json.loads(done.stdout)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return tmp_path / "project"


def values(shown: str) -> dict[str, str]:
    """`--config`: the last key of each line to its value and origin."""
    lines = (line.partition(":") for line in shown.splitlines() if "#" in line)
    return {key.strip(): " ".join(rest.split()) for key, _, rest in lines}


def test_what_is_added_and_what_is_replaced_is_found_beside_what_is_shipped(unpacked: Path, project: Path) -> None:
    listed, pipelines, broken = flow(
        unpacked, project, ["ls", "models"], ["ls", "pipelines"], ["check", "graph.reply.use=own/broken"]
    )
    assert "models\ttiny\tA model of ours.\n" in listed.out
    assert "models\tsmollm2\t" in listed.out
    assert "pipelines\tloud\tTalk loudly.\n" in pipelines.out
    assert "pipelines\tdialogue\tTalk over several turns.\n" in pipelines.out
    assert (broken.code, broken.err) == (
        2,
        "plugins.stages/broken (command line): 'stages/broken.py' cannot be imported: "
        "SyntaxError: invalid syntax (broken.py, line 2). Mend it, or do without it.\n",
    )


def test_every_value_is_that_of_the_file_that_stands_first(unpacked: Path, project: Path) -> None:
    plain, model, greedy = flow(
        unpacked,
        project,
        ["check", "--config"],
        ["check", "--config", "model=tiny", "engine=transformers"],
        ["check", "--config", "experiment=loudest"],
    )
    assert [said.err for said in (plain, model, greedy)] == ["", "", ""]
    assert values(plain.out)["temperature"] == "0.8 # conf/sampling/balanced.yaml:4"
    assert values(plain.out)["top_p"] == "0.9 # conf/sampling/balanced.yaml:5"
    assert values(plain.out)["use"].startswith("input/file")
    assert "use: engine/echo" in plain.out
    assert values(model.out)["name"] == "tiny # conf/model/tiny.yaml:4"
    assert values(greedy.out)["max_tokens"] == "3 # conf/sampling/greedy.yaml:4"
    assert values(greedy.out)["times"] == "5 # conf/experiment/loudest.yaml:7"
    assert values(greedy.out)["seed"] == "3 # conf/experiment/loudest.yaml:8"


def test_a_stage_of_the_project_runs_with_its_options(unpacked: Path, project: Path) -> None:
    checked, plain, more, experiment, wrong, sweep = flow(
        unpacked,
        project,
        ["check", "pipeline=loud"],
        ["pipeline=loud"],
        ["pipeline=loud", "graph.loud.times=3", "input.text=hi"],
        ["experiment=loudest"],
        ["check", "pipeline=loud", "graph.loud.times=0"],
        ["-m", "experiment=loudest", "graph.loud.times=1,2", "input.text=hi"],
    )
    assert (checked.code, checked.err) == (0, "")
    assert [said.out for said in (plain, more, experiment, sweep)] == [
        "ONE TWO THREE FOUR!!\n", "HI!!!\n", "ONE TWO THREE!!!!!\n", "HI!\nHI!!\n",
    ]  # fmt: skip
    assert (wrong.code, wrong.err) == (
        2,
        "graph.loud.times (command line): 0 does not fit. It takes an integer of 1 or more.\n",
    )


def test_a_project_of_its_own_makes_a_project(unpacked: Path, tmp_path: Path) -> None:
    """As pip leaves the package: with compiled files, which are no part of an example."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", unpacked / "vllm_flow" / "examples"], check=True)
    made = flow(unpacked, tmp_path, *(["init", name, "--example", name] for name in EXAMPLES))
    assert [said.code for said in made] == [0, 0, 0, 0]
    assert not [path for path in tmp_path.rglob("*") if "cache" in path.name]
    schema, ran = flow(unpacked, tmp_path / "tool", ["check", "--schema"], ["ls", "next_bus"])
    assert ran.out.startswith("next_bus: function\nWhen and where the next bus leaves.\n")
    assert schema.out == (tmp_path / "tool/conf/schema.json").read_text(encoding="utf-8")


@pytest.fixture
def site(unpacked: Path, tmp_path: Path) -> Path:
    """Two packages as pip installs them, made by `init`: `acme` is whole, `broken` cannot be imported."""
    flow(unpacked, tmp_path, *(["init", name, "--example", "plugin"] for name in ("acme", "broken")))
    (tmp_path / "broken/broken/shout.py").write_text("1 / 0\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    where = ["--target", tmp_path / "site", tmp_path / "acme", tmp_path / "broken"]
    subprocess.run([*command, *where], check=True, capture_output=True)
    return tmp_path / "site"


def test_an_installed_package_gives_its_stages_to_whoever_names_it(unpacked: Path, site: Path, tmp_path: Path) -> None:
    checked, ran, broken, unknown = flow(
        unpacked,
        tmp_path / "acme/example",
        ["check", "experiment=louder"],
        ["experiment=louder", "engine=echo"],
        ["check", "pipeline=loud", "graph.answer.use=broken:shout/loud"],
        ["check", "pipeline=loud", "graph.answer.use=acne:shout/loud"],
        site=site,
    )
    assert (checked.code, checked.err) == (0, "")
    assert ran.out == "WHAT IS THE CAPITAL OF FRANCE?!!!\n"  # and the broken one, which nobody named, harmed nobody
    assert (broken.code, broken.err) == (
        2,
        "graph.answer.use (command line): the plugin 'broken' (broken) cannot be imported: "
        "ZeroDivisionError: division by zero. Mend or reinstall it.\n",
    )
    assert (unknown.code, unknown.err) == (
        2,
        "graph.answer.use (command line): no installed package offers the plugin 'acne'. "
        "Did you mean 'acme'? Installed: acme, broken.\n",
    )


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_from_an_empty_environment_to_every_command_of_every_example(wheel: Path, tmp_path: Path) -> None:
    """The wheel and all that it needs from the package index, then each README as a person would follow it."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    alone = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VLLM_FLOW_PROJECT")}
    alone |= {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(tmp_path / "venv")}

    def shell(folder: Path, script: str) -> None:
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            command,
            cwd=folder,
            env=alone,
            input="Hello.\n",
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        assert "warning:" not in done.stderr

    shell(tmp_path, f"pip install --quiet '{wheel}' pytest")
    for example in EXAMPLES:
        shell(tmp_path, f"vllm-flow init {example} --example {example}")
        readme = (tmp_path / example / "README.md").read_text(encoding="utf-8")
        shell(tmp_path / example, "\n".join(commands(readme)))
