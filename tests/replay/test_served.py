"""A recorded run shown again: what it wrote to stdout, byte for byte, from its folder alone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import fakes
from tests.replay.runs import Said, newest, write_rows
from vllm_flow.core.events import TokenMade, TurnStarted
from vllm_flow.core.messages import user
from vllm_flow.core.record import Record
from vllm_flow.core.recorded import read
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn
from vllm_flow.replay.story import events_as_they_came

Flow = Callable[..., Said]
ROWS = (
    {"conversation": "a", "text": "Grüße, 世界 🙂"}, {"conversation": "b", "text": "two\nlines\u2028three"},
    {"conversation": "a", "text": "again"}, {"text": "no conversation"}, {"id": "7", "messages": [{"role": "user", "content": "x y z"}]},
)  # fmt: skip


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("pipeline", ["dialogue", "best_of", "most_likely", "perplexity", "dated"])
def test_a_replay_writes_what_the_run_wrote_and_ends_as_it_ended(
    flow: Flow, pipeline: str, form: tuple[str, ...]
) -> None:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    ran = flow("engine=echo", f"pipeline={pipeline}", "input.path=rows.jsonl", *form)
    shown = flow("replay", newest(), *form)
    assert ran.out != ""
    assert (shown.out, shown.code) == (ran.out, ran.code)
    assert ran.code == 1  # one row is bad


def test_what_was_told_beside_the_answers_is_told_again(flow: Flow) -> None:
    rows = write_rows(*(f"number {place}" for place in range(5)))
    ran = flow("engine=echo", "context=window", "graph.context.turns=1", rows, "sampling.max_tokens=1")
    shown = flow("replay", newest())
    told = ran.err.partition("\nNext:")[0]
    assert "(6 messages of history were left out of this prompt: older than the newest 1 turns)" in told
    assert "the answer was cut at sampling.max_tokens" in told
    assert shown.err.strip() == told.strip()


def test_neither_a_model_nor_hydra_is_loaded_to_show_a_run(flow: Flow) -> None:
    ran = flow("engine=echo")
    code = (
        "import sys\nfrom vllm_flow.cli import main\n"
        "assert main(['replay', sys.argv[1]]) == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'hydra', 'omegaconf', 'vllm_flow.engines.echo', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(newest())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, ran.out), done.stderr


def test_a_point_of_a_sweep_is_shown_and_the_sweep_names_its_points(flow: Flow) -> None:
    flow("-m", "engine=echo", "input.text=one two three", "sampling.max_tokens=1,2")
    (sweep,) = Path("outputs/sweeps").glob("*/*")
    assert [flow("replay", sweep / point).out for point in "01"] == ["one\n", "one two\n"]
    said = flow("replay", sweep)
    where = f"{sweep.resolve()}: there is no run.json in it. Give the folder of a run, or of one point of a sweep."
    assert said.code == 1
    assert said.err.startswith(f"vllm-flow: {where} The newest below it: {sweep.resolve()}/")


def test_an_answer_that_was_cut_off_is_shown_as_far_as_it_came(tmp_path: Path) -> None:
    spec = RunSpec("t", {"prompt": {"use": "fuse/chat"}, "context": {"use": "context/full"},
                         "schedule": {"use": "schedule/sampling"}, "reply": {"use": "infer/generate"}}, "reply",
                   resources={"engine": {"use": "fake/engine"}, "store": {"use": "store/memory"}})  # fmt: skip
    assert fakes.FakeOptions

    async def cut_off(record: Record) -> None:
        seen = asyncio.Event()

        def watch(event: object) -> None:
            if isinstance(event, TokenMade) and event.token.id == 1:
                seen.set()

        with Runner(spec, observers=[record, watch]) as runner:
            asked = asyncio.create_task(runner.answer(Turn("a", user("hello wait never"), index=3)))
            await seen.wait()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    with Record(tmp_path / "run", spec) as record:
        asyncio.run(cut_off(record))
    recorded = read(tmp_path / "run")
    started, token = events_as_they_came(recorded)
    assert isinstance(started, TurnStarted)
    assert isinstance(token, TokenMade)
    assert (started.turn.conversation, token.token.text) == ("a", "hello wait ")
    (call,) = recorded.calls()[3]["calls"]
    assert call["completion"] == {"text": "hello wait ", "token_ids": [0, 1], "finish_reason": None}
    assert call["messages"] == [{"role": "user", "content": "hello wait never"}]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "replay: no run is named. Write replay RUN, such as replay outputs/runs/…/…."),
        (("a", "b"), "b: replay takes one folder. Changes stand behind --change."),
        (("a", "--change"), "--change: nothing is to change. Write key=value behind it."),
        (("a", "--verify", "--change", "seed=1"), "replay: --verify is for the configuration as it was. Leave out one of --change and --verify."),
        (("a", "--verifi"), "--verifi (command line): there is no such flag. Did you mean '--verify'? Flags: --change, --help, --json, --verify, -h."),
    ],
)  # fmt: skip
def test_what_is_said_wrongly_is_told(flow: Flow, words: tuple[str, ...], problem: str) -> None:
    said = flow("replay", *words)
    assert (said.code, said.err) == (2, f"{problem}\n")
