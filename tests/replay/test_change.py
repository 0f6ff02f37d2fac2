"""A recorded run once more with a change: the same turns, other values, a record of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replay.runs import Said, newest, write_rows
from vllm_flow.core.recorded import read

Flow = Callable[..., Said]
KEYS = (
    "clock, concurrency, context, embedder, engine, graph, media, metrics, output, prompt, remember, reply, resources, sampling, "
    "schedule, seed, store, tools, transcriber, web"
)


def test_the_recorded_turns_are_answered_without_the_file_they_came_from(flow: Flow) -> None:
    flow("engine=echo", "pipeline=dated", write_rows("one two three", "four five six"))
    first = newest()
    Path("rows.jsonl").unlink()
    said = flow("replay", first, "--change", "sampling.max_tokens=2", "engine.use=engine/echo", "seed=7")
    assert (said.code, said.out) == (0, "one two\nfour five\n")
    second = newest()
    assert said.err.splitlines()[-1] == f"2 turns answered: {second.relative_to(Path.cwd())}"
    recorded = read(second)
    assert (recorded.spec.sampling["max_tokens"], recorded.spec.seed) == (2, 7)
    changes = ["sampling.max_tokens=2", "engine.use=engine/echo", "seed=7"]
    assert recorded.run["replayed"] == {"folder": str(first), "changes": changes}
    times = [
        [call["value"] for row in read(one).calls().values() for call in row["calls"] if "value" in call]
        for one in (first, second)
    ]
    assert times[0] == times[1]
    assert len(times[0]) == 2
    assert flow("replay", second, "--verify").out == "all 2 answers equal\n"


def test_a_store_on_the_disk_is_not_written(flow: Flow) -> None:
    flow("engine=echo", "store=sqlite", "store.path=kept.sqlite", write_rows("one two", "three four"))
    kept = Path("kept.sqlite").read_bytes()
    assert flow("replay", newest(), "--change", "sampling.max_tokens=1").out == "one\nthree\n"
    assert Path("kept.sqlite").read_bytes() == kept
    assert read(newest()).spec.resources["store"] == {"use": "store/memory"}


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("sampling.temperature=-1", "sampling.temperature (command line): -1 does not fit. It takes a number of 0 or more."),
        ("sampling=greedy", "sampling (command line): 'greedy' is no table, and a record holds no files to look it up in. Change one of its keys: max_tokens, repetition_penalty, temperature, top_p; or write all of it: 'sampling={…}'."),
        ("engine=echo", "engine (command line): 'echo' is no table, and a record holds no files to look it up in. Change one of its keys: use; or write all of it: 'engine={…}'."),
        ("samplin.top_p=1", "samplin.top_p (command line): the record has no such key. Did you mean 'sampling'? There are: {KEYS}."),
        ("seed", "seed (command line): it is no change. Write key=value, such as sampling.temperature=0.3."),
        ("model.path=x", "model.path (command line): the record has no such key. There are: {KEYS}."),
        ("prompt.sistem=x", "graph.prompt.sistem (command line): there is no option 'sistem'. Did you mean 'system'? Options: budget, shares, system."),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_told_before_anything_is_written(flow: Flow, word: str, problem: str) -> None:
    flow("engine=echo")
    first = newest()
    said = flow("replay", first, "--change", word)
    assert (said.code, said.err) == (2, problem.replace("{KEYS}", KEYS) + "\n")
    assert newest() == first


def test_a_whole_table_takes_the_place_of_another(flow: Flow) -> None:
    flow("model=custom", "model.architecture.hidden_size=32", "sampling.max_tokens=4", "input.text=one two three")
    said = flow("replay", newest(), "--change", "engine={use: engine/echo}", "sampling={max_tokens: 2}")
    assert (said.code, said.out) == (0, "one two\n")
    spec = read(newest()).spec
    assert (spec.resources["engine"], spec.sampling) == ({"use": "engine/echo"}, {"max_tokens": 2})


def test_a_model_is_changed_wherever_it_is_read(flow: Flow) -> None:
    flow("model=custom", "model.architecture.hidden_size=32", "sampling.max_tokens=4", "input.text=hi")
    flow("replay", newest(), "--change", "model.architecture.seed=3")
    assert read(newest()).run["resources"]["engine"]["weights"] == "random, seed 3"
