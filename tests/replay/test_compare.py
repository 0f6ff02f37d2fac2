"""Two records side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replay.runs import CODE, Said, newest, write_rows
from vllm_flow.replay.compare import marked

Flow = Callable[..., Said]


def without_metrics(lines: list[str]) -> list[str]:
    """They have tests of their own, and are told last."""
    start = next(place for place, line in enumerate(lines) if line.startswith("metrics: "))
    return lines[: start - 1]


def test_keys_origins_the_first_stage_and_examples_are_told(flow: Flow) -> None:
    rows = write_rows("one two three", "four", "five six", "seven eight nine", "ten eleven twelve")
    Path("conf/sampling").mkdir(parents=True)
    Path("conf/sampling/own.yaml").write_text("# @package sampling\n# Own.\nmax_tokens: 2\n", encoding="utf-8")
    flow("engine=echo", "sampling=own", rows)
    first = newest()
    flow("engine=echo", "sampling=own", "sampling.max_tokens=1", rows)
    second = newest()
    said = flow("compare", first, second)
    assert (said.code, said.err) == (0, "")
    assert without_metrics(said.lines) == [
        f"A  {first}  (engine=echo sampling=own ++{rows} input=file)",
        f"B  {second}  (engine=echo sampling=own ++sampling.max_tokens=1 ++{rows} input=file)",
        "",
        "configuration: 1 differ",
        "  sampling.max_tokens: 2 (conf/sampling/own.yaml:3) → 1 (command line)",
        "",
        "run: equal",
        "",
        "first stage whose inputs differ: schedule (schedule/sampling), turn 1 of a: sampling",
        "outputs: 4 of 5 rows differ",
        "turn 1 of a",
        "  one[- two-]",
        "turn 3 of a",
        "  five[- six-]",
        "turn 4 of a",
        "  seven[- eight-]",
    ]


def test_equal_runs_are_called_equal(flow: Flow) -> None:
    for _ in range(2):
        flow("engine=echo", write_rows("one", "two"))
    folders = sorted(Path("outputs/runs").glob("*/*"))
    assert flow("compare", *folders).lines[2:] == [
        "", "configuration: equal", "", "run: equal", "", "outputs: all equal, 2 rows",
    ]  # fmt: skip
    found = json.loads(flow("compare", *folders, "--json").out)
    assert (found["keys"], found["stage"], found["paired"], found["differing"]) == ([], None, 2, 0)


def test_a_stage_whose_code_was_another_is_named_as_such(flow: Flow) -> None:
    words = ("engine=echo", "pipeline=dated", "clock=fixed", "clock.time=2026-11-24T09:30:00+08:00", write_rows("one"))
    flow(*words)
    first = newest()
    CODE.greeting = "It was"
    flow(*words)
    said = flow("compare", first, newest())
    assert said.lines[-2:] == [
        "first stage whose value differs, of equal inputs: prompt (test/dated), turn 1 of a",
        "outputs: all equal, 1 row",
    ]


def test_other_questions_and_rows_that_only_one_run_has_are_told(flow: Flow) -> None:
    flow("engine=echo", write_rows("one", "two", "three"))
    first = newest()
    flow("engine=echo", write_rows("one", "zwei"))
    assert without_metrics(flow("compare", first, newest()).lines)[-4:] == [
        "first difference: what was asked in turn 2 of a",
        "outputs: 1 of 2 rows differ, 1 only in A",
        "turn 2 of a",
        "  [-two-]{+zwei+}",
    ]


def test_what_is_known_of_both_runs_is_compared(flow: Flow) -> None:
    flow("engine=echo", write_rows("one"))
    first = newest()
    flow("engine=echo", write_rows("one"))
    file = newest() / "run.json"
    run = json.loads(file.read_text(encoding="utf-8"))
    run["versions"]["torch"], run["git"] = "1.0", {"commit": "abc", "dirty": False, "changed": []}
    file.write_text(json.dumps(run), encoding="utf-8")
    said = flow("compare", first, newest()).lines
    assert "run: 4 differ" in said
    assert '  git.commit: (nothing) → "abc"' in said
    assert [line for line in said if line.startswith("  versions.torch: ") and line.endswith(' → "1.0"')] != []


@pytest.mark.parametrize("folders", [(), ("a",), ("a", "b", "c")])
def test_it_takes_two_folders(flow: Flow, folders: tuple[str, ...]) -> None:
    said = flow("compare", *folders)
    problem = f"compare: it takes two folders of runs, not {len(folders)}. Write compare A B.\n"
    assert (said.code, said.err) == (2, problem)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("the cat sat", "the dog sat", "the [-cat-]{+dog+} sat"),
        ("", "new", "{+new+}"),
        ("gone", "", "[-gone-]"),
        ("same", "same", "same"),
        ("a b", "a, b", "a{+,+} b"),
    ],
)
def test_two_texts_are_shown_as_one(first: str, second: str, both: str) -> None:
    assert marked(first, second) == both


FALLS = "sampling.temperature={linear: {from: 1.0, to: 0.2, over: %s}}"


def test_the_first_token_with_another_value_of_a_parameter_is_named(flow: Flow) -> None:
    rows = write_rows("to be or not to be", "that is the question")
    folders = []
    for own in (FALLS % 8, FALLS % 8, FALLS % 4, "sampling.temperature=0.9"):
        flow("engine=echo", own, rows)
        folders.append(newest())
    first, same, faster, still = folders
    assert "value in force" not in flow("compare", first, same).out
    line = "first value in force that differs: sampling.temperature at token {} of reply, turn 1 of a: {}"
    assert line.format(1, "0.9 → 0.8") in flow("compare", first, faster).lines
    assert line.format(0, "0.9 → 1") in flow("compare", still, faster).lines
    told = json.loads(flow("compare", first, faster, "--json").out)["course"]
    assert told == {
        "node": "reply", "conversation": "a", "turn": 1, "parameter": "temperature", "token": 1, "first": "0.9",
        "second": "0.8",
    }  # fmt: skip
