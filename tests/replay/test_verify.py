"""Every answer computed again: all equal, or the first stage, turn and token that differ."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import vllm_flow
from tests import tiny
from tests.replay.runs import CODE, TINY, Said, edit, newest, write_rows
from vllm_flow.cli.chat import compose_chat
from vllm_flow.core.messages import user
from vllm_flow.core.recorded import read
from vllm_flow.core.values import Turn
from vllm_flow.engines.echo import token_id
from vllm_flow.session import Session

Flow = Callable[..., Said]
THREE = ("The first one.", "Then another.", "And a third, longer than both.")
NAMES = ("results.jsonl", "calls.jsonl", "timings.jsonl", "events.jsonl")


@pytest.mark.parametrize("pipeline", ["dialogue", "best_of", "most_likely", "perplexity", "dated", "story"])
def test_a_run_that_nothing_has_happened_to_is_equal(flow: Flow, pipeline: str) -> None:
    flow("engine=echo", f"pipeline={pipeline}", write_rows(*THREE))
    before = {name: (newest() / name).read_bytes() for name in NAMES}
    assert flow("replay", newest(), "--verify") == Said(0, "all 3 answers equal\n", "")
    assert {name: (newest() / name).read_bytes() for name in NAMES} == before


def test_sampled_answers_of_a_model_are_equal_alone_and_together(flow: Flow) -> None:
    rows = [{"id": str(place), "messages": [{"role": "user", "content": text}]} for place, text in enumerate(THREE)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    flow(*TINY, "input.path=rows.jsonl", "sampling.top_p=0.9", "sampling.repetition_penalty=1.2")
    answers = [row["value"]["token_ids"] for row in read(newest()).results()]
    assert len({tuple(ids) for ids in answers}) == 3
    assert flow("replay", newest(), "--verify") == Said(0, "all 3 answers equal\n", "")


@pytest.mark.parametrize(("policy", "asked"), [("summary", 3), ("facts", 3), ("story", 6)])
def test_what_a_policy_asks_the_model_is_recorded_and_asked_again(flow: Flow, policy: str, asked: int) -> None:
    rows = [{"conversation": "c", "text": f"{number}. {THREE[number % 3]}"} for number in range(5)]
    if policy == "facts":
        rows[1]["remember"] = {"city": "Oslo"}  # type: ignore[assignment]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ("context.turns=1", "context.every=1", "context.max_tokens=12")
    assert flow(*TINY, "input.path=rows.jsonl", f"context={policy}", *options).code == 0
    recorded = read(newest())
    calls = [call for _, row in sorted(recorded.calls().items()) for call in row["calls"]]
    own = [call for call in calls if call["node"] == "context"]
    assert (len(own), len(calls)) == (asked, asked + 5)
    assert [call["sampling"][0][1] for call in own] == [{"temperature": 0.0, "max_tokens": 12}] * asked
    assert [row.get("remember") for row in recorded.results()] == [row.get("remember") for row in rows]
    assert flow("replay", newest(), "--verify") == Said(0, "all 5 answers equal\n", "")


def test_what_was_learned_on_the_way_is_learned_again(flow: Flow) -> None:
    done = flow(*TINY[:3], "pipeline=adapt")
    assert done.code == 0
    ways = [[float(way.rpartition(" ")[2]) for way in line.split(", ")] for line in done.lines[:4]]
    assert len({*ways[0]}) == 1  # nothing stands before the first piece, and nothing is learned yet
    assert all(adapted < 0.95 * min(static, longer) for static, longer, adapted in ways[1:])
    assert flow("replay", newest(), "--verify") == Said(0, "all 4 answers equal\n", "")


def test_what_a_folder_keeps_of_what_was_learned_is_not_believed(flow: Flow) -> None:
    assert flow(*TINY[:3], "pipeline=adapt", "engine.adapters=kept").code == 0
    kept = sorted(Path("kept").glob("*/learned.json"))
    assert len(kept) == 4
    for file in kept:
        said = json.loads(file.read_text("utf-8"))
        said["adapted"]["losses"][-1] = 0.125
        file.write_text(json.dumps(said), encoding="utf-8")
    assert flow("replay", newest(), "--verify") == Said(0, "all 4 answers equal\n", "")


def test_the_time_is_what_it_was_also_when_it_is_asked_for_in_a_thread(flow: Flow) -> None:
    flow("engine=echo", "pipeline=dated", "clock.zone=Asia/Shanghai", write_rows("a", "b"))
    told = [call for row in read(newest()).calls().values() for call in row["calls"] if call["method"] == "now"]
    assert [(call["node"], call["resource"], call["value"]["zone"]) for call in told] == [
        ("prompt", "clock", "Asia/Shanghai")
    ] * 2
    assert told[0]["value"]["time"] < told[1]["value"]["time"]
    assert flow("replay", newest(), "--verify").out == "all 2 answers equal\n"


def test_a_stage_whose_code_has_changed_is_named_with_the_token_of_the_prompt_that_shows_it(flow: Flow) -> None:
    flow("engine=echo", "pipeline=dated", "clock=fixed", "clock.time=2026-11-24T09:30:00+08:00", write_rows(*THREE))
    CODE.greeting = "It was"
    said = flow("replay", newest(), "--verify")
    assert said.code == 1
    assert said.lines[:2] == [
        "0 of 3 answers equal. The first that is not:",
        "graph.prompt (test/dated), turn 1 of a: its inputs are equal, and its value is another: "
        f"token 1 of the prompt of reply is {token_id(' was')}, and was {token_id(' is')}.",
    ]


def test_a_stage_behind_the_model_is_named_and_the_model_is_not(flow: Flow) -> None:
    flow("engine=echo", "pipeline=dated", write_rows("a"))
    CODE.ending = "!"
    said = flow("replay", newest(), "--verify", "--json")
    (one,) = json.loads(said.out)["differing"]
    assert (said.code, one["node"], one["turn"], one["token"]) == (1, "ended", 1, None)
    assert one["what"] == "its inputs are equal, and its value is another"


def test_a_stage_that_asks_the_clock_more_often_is_named(flow: Flow) -> None:
    flow("engine=echo", "pipeline=dated", write_rows("a"))
    CODE.questions = 3
    said = flow("replay", newest(), "--verify")
    assert said.lines[1] == "graph.prompt (test/dated), turn 1 of a: it asked clock for now 3 times, and 1 times then."


def test_a_token_that_was_another_is_named_with_the_text_around_it(flow: Flow) -> None:
    flow(*TINY, write_rows(*THREE))

    def plant(place: int, row: dict) -> None:  # type: ignore[type-arg]
        if place == 1:
            row["value"]["token_ids"][4] = 7

    was = read(newest()).results()[1]["value"]["token_ids"][4]
    edit(newest() / "results.jsonl", plant)
    said = flow("replay", newest(), "--verify")
    assert (said.code, said.lines[0]) == (1, "2 of 3 answers equal. The first that is not:")
    assert said.lines[1] == f"graph.reply (infer/generate), turn 2 of a: token 4 is {was}, and was 7."
    assert was != 7


def test_a_prompt_that_was_another_is_named_with_its_text(flow: Flow) -> None:
    flow(*TINY, write_rows("Hello there."))
    ids = read(newest()).calls()[0]["calls"][0]["prompt_ids"]

    def plant(place: int, row: dict) -> None:  # type: ignore[type-arg]
        row["calls"][0]["prompt_ids"][5] = ord("Z")

    edit(newest() / "calls.jsonl", plant)
    said = flow("replay", newest(), "--verify")
    assert said.lines[1] == (
        "graph.reply (infer/generate), turn 1 of a: its inputs are equal, and "
        f"token 5 of the prompt of reply is {ids[5]}, and was {ord('Z')}."
    )
    assert len(said.lines) == 4
    assert said.lines[2] != said.lines[3]


def test_other_weights_in_the_same_folder_are_told_with_the_difference(flow: Flow) -> None:
    tiny.save(Path("model"), "Llama", tiny.build("Llama", seed=0))
    flow("model=custom", "model.path=model", "sampling=greedy", "sampling.max_tokens=8", write_rows("Hello there."))
    before = read(newest()).run["resources"]["engine"]["weights_sha256"]
    assert flow("replay", newest(), "--verify").out == "the answer is equal\n"
    tiny.save(Path("model"), "Llama", tiny.build("Llama", seed=1))
    said = flow("replay", newest(), "--verify")
    assert said.code == 1
    assert said.lines[1].startswith("graph.reply (infer/generate), turn 1 of a: token 0 is ")
    (note,) = [line for line in said.lines if line.startswith("note:")]
    assert note.startswith("note: engine: weights_sha256 is ")
    assert note.endswith(f", and was {before}.")


def test_an_engine_that_promises_nothing_is_named(flow: Flow) -> None:
    flow("engine=transformers", *TINY, "engine.deterministic=false", write_rows("Hello there."))
    assert flow("replay", newest(), "--verify").lines[1:] == [
        "note: engine is not deterministic: its numbers may depend on what else is in flight. "
        "A difference need not be a fault."
    ]


def test_a_store_on_the_disk_is_left_as_it_is_and_what_it_held_before_cannot_be_verified(flow: Flow) -> None:
    words = ("engine=echo", "store=sqlite", "store.path=kept.sqlite")
    flow(*words, write_rows("one", "two"))
    first = newest()
    flow(*words, write_rows("three"))
    kept = Path("kept.sqlite").read_bytes()
    assert flow("replay", first, "--verify").out == "all 2 answers equal\n"
    said = flow("replay", newest(), "--verify")
    assert (said.code, said.err) == (
        1,
        f"vllm-flow: {newest()}: there is no answer to compute again; 1 are left out, for their conversations began in "
        "another run or as a fork.\n",
    )
    assert Path("kept.sqlite").read_bytes() == kept


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_conversation_that_begins_as_a_fork_is_left_out(flow: Flow, store: str) -> None:
    with Session(compose_chat(["engine=echo", f"store={store}"]), record=Path("outputs/chat")) as session:
        for text in ("one", "two"):
            session.run(Turn("a", user(text)))
        session.opened("store").fork("a", "b", 1)
        session.run(Turn("b", user("three")))
    assert flow("replay", newest(), "--verify").lines == [
        "all 2 answers equal",
        "not computed again: 1, for their conversations began in another run or as a fork",
    ]
    results = newest() / "results.jsonl"
    results.write_bytes(results.read_bytes().partition(b"\n")[2])  # as if the first answer had been stopped
    assert flow("replay", newest(), "--verify").err == (
        f"vllm-flow: {newest()}: there is no answer to compute again; 1 are left out, for an answer before them was "
        "cut off; 1 are left out, for their conversations began in another run or as a fork.\n"
    )


def test_turns_taken_back_and_asked_again_are_verified_and_those_after_a_change_are_not(flow: Flow) -> None:
    with vllm_flow.load("dialogue", ["engine=echo"]) as session:
        session.run("one")
        session.run("two")
        session.opened("store").undo("text")
        session.run("three")
        session.opened("store").undo("text")
        session.run("three")
        session.set("sampling.max_tokens=1")
        session.run("four five")
    said = flow("replay", newest(), "--verify")
    assert said.lines == [
        "all 4 answers equal",
        "not computed again: 1, for the configuration was changed before them (sampling.max_tokens=1)",
    ]


def test_the_record_of_a_killed_run_is_shown_and_verified_and_so_it_is_when_the_run_has_gone_on(flow: Flow) -> None:
    rows = [{"conversation": f"c{place % 50}", "text": f"text {place} of many"} for place in range(1_000)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = [sys.executable, "-m", "vllm_flow", "engine=echo", "input.path=rows.jsonl"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (found := list(Path().glob("outputs/runs/*/*/results.jsonl"))) or found[0].stat().st_size < 20_000:
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    running.wait()
    recorded = read(newest())
    done = len(recorded.results())
    assert recorded.run["status"] == "running"
    assert 50 < done < 1_000
    assert len(flow("replay", newest(), "--json").lines) == done
    assert flow("replay", newest(), "--verify").out == f"all {done} answers equal\n"
    for name in ("calls", "timings"):  # as a kill in the middle of a line leaves them
        with (newest() / f"{name}.jsonl").open("ab") as file:
            file.write(b'{"index": ')
    assert flow("resume", newest()).code == 0
    assert len(flow("replay", newest(), "--json").lines) == 1_000
    assert flow("replay", newest(), "--verify").out == "all 1000 answers equal\n"
    assert len(read(newest()).calls()) == 1_000


def test_a_value_of_a_parameter_that_was_another_is_named_with_its_token(flow: Flow) -> None:
    flow("engine=echo", "sampling.temperature={linear: {from: 1.0, to: 0.2, over: 8}}", write_rows("to be or not"))
    assert flow("replay", newest(), "--verify").out == "the answer is equal\n"

    def plant(place: int, row: dict) -> None:  # type: ignore[type-arg]
        (call,) = row["calls"]
        call["moving"]["temperature"][2] = 0.75
        call["signals"] = {"entropy": [None, 1.5, 2.25, 0.5]}

    edit(newest() / "calls.jsonl", plant)
    said = flow("replay", newest(), "--verify")
    assert said.lines[1] == (
        "graph.reply (infer/generate), turn 1 of a: sampling.temperature is 0.8 at token 2, and was 0.75."
    )
    assert "entropy 2.25" in said.out


def test_a_value_that_followed_from_another_token_is_not_what_made_the_difference(flow: Flow) -> None:
    flow("engine=echo", "sampling.temperature={linear: {from: 1.0, to: 0.2, over: 8}}", write_rows("to be or not"))

    def other(place: int, row: dict) -> None:  # type: ignore[type-arg]
        row["value"]["token_ids"][1] = 7

    def plant(place: int, row: dict) -> None:  # type: ignore[type-arg]
        row["calls"][0]["moving"]["temperature"][2] = 0.75

    edit(newest() / "results.jsonl", other)
    edit(newest() / "calls.jsonl", plant)
    said = flow("replay", newest(), "--verify")
    assert said.lines[1] == f"graph.reply (infer/generate), turn 1 of a: token 1 is {token_id(' be')}, and was 7."
