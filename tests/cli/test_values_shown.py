"""`check --config`: YAML that loads back to what is run, with the place of each value behind it."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from vllm_flow.cli import main
from vllm_flow.cli.values_shown import with_origins
from vllm_flow.config import compose
from vllm_flow.core.spec import RunSpec

# fmt: off
PIECES = [
    "a", "b: c", "- x", "#", " #", "\n", "\r", "\t", " ", "\0", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u2029", "\ufeff", "\ufffe",
    "\ud800", "\U0001f600", "é", "名前", "'", '"', "\\", "${x}", "{", "}", "[", ",", "&a", "*a", "!x", "|", ">", "%", "@", "`", "null",
    "true", "no", "1", "1e3", "0x1f", "0o7", "~", "---", "...", "? x", ": ", "2026-01-01", "=", "<<", "\xa0", "\u200b", "x" * 300,
    "y" * 1100, " \n", "\n ",
]
# fmt: on
NUMBERS = [0, -1, 10**20, 1.5, -0.0, 1e300, 5e-324, 1e16, 0.1]


def a_text(random: Random) -> str:
    return "".join(random.choices(PIECES, k=random.randint(0, 4)))


def a_value(random: Random, depth: int = 3) -> Any:
    match random.randint(0, 7 if depth else 5):
        case 0 | 1 | 2:
            return a_text(random)
        case 3:
            return random.choice([None, True, False, [], {}])
        case 4 | 5:
            return random.choice(NUMBERS)
        case 6:
            return [a_value(random, depth - 1) for _ in range(random.randint(1, 3))]
    return {a_text(random): a_value(random, depth - 1) for _ in range(random.randint(1, 3))}


@pytest.mark.parametrize("ascii_only", [False, True])
def test_any_value_loads_back_whatever_stands_behind_it(ascii_only: bool) -> None:
    random = Random(0)
    for _ in range(200):
        graph = {a_text(random): a_value(random) for _ in range(3)}
        spec = RunSpec(a_text(random), graph, a_text(random), origins={("graph",): a_text(random)})
        shown = with_origins(spec, ascii_only=ascii_only)
        assert repr(yaml.safe_load(shown)) == repr(spec.content())
        assert shown.replace("\n", "").replace("\t", "").isprintable()
        assert shown.isascii() or not ascii_only


def test_every_value_stands_before_the_place_where_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["pipeline=story", "engine=echo", "sampling=greedy", "sampling.stop=[a,b]", "input.text=Hi", "seed=3"]
    assert main(["check", "--config", *words]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown) == compose(words).content()
    squeezed = [re.sub(r" +  # ", "  # ", line) for line in shown.splitlines()]
    expected = [
        "name: story", "    use: context/story  # conf/context/story.yaml:4", "    use: engine/echo  # conf/engine/echo.yaml:4",
        "  temperature: 0  # conf/sampling/greedy.yaml:4", "    - a  # command line", "    - b  # command line",
        "  text: Hi  # command line", "seed: 3  # command line", "concurrency: 256  # conf/config.yaml:31", "pipelines: {}",
    ]  # fmt: skip
    assert [line for line in expected if line not in squeezed] == []
    assert len({line.index("  # ") for line in shown.splitlines() if re.search(r"^.{,60}  # ", line)}) == 1


def test_a_text_of_several_lines_is_shown_as_one_reads_it() -> None:
    text = "You are:\n\n  - kind\n\ta # b\n"
    spec = RunSpec("a", {"prompt": {"system": text}}, "b", origins={("graph", "prompt"): "pipelines/a.yaml:3"})
    assert with_origins(spec).splitlines()[1:8] == [
        "graph:",
        "  prompt:",
        "    system: |     # pipelines/a.yaml:3",
        "      You are:",
        "",
        "        - kind",
        "      \ta # b",
    ]


def test_an_item_of_a_list_has_its_own_place_or_that_of_the_list() -> None:
    origins = {("graph", "tags"): "a.yaml:3", ("graph", "tags", "1"): "a.yaml:5"}
    shown = with_origins(RunSpec("a", {"tags": ["x", "y"]}, "b", origins=origins)).splitlines()
    assert [line.split() for line in shown[3:5]] == [["-", "x", "#", "a.yaml:3"], ["-", "y", "#", "a.yaml:5"]]
