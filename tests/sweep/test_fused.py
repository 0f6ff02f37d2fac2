"""Points run together: each gives what it gives alone, fails alone, and leaves its own record."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests import fakes
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import told
from vllm_flow.core.events import Inferred, TurnDone
from vllm_flow.core.spec import RunSpec
from vllm_flow.sweep.fused import Fused
from vllm_flow.sweep.points import Point

from .conftest import TINY, Watched, grid, points, results


def test_each_of_24_points_gives_the_same_bytes_alone_together_and_in_another_order(rows: Path, tmp_path: Path) -> None:
    common = [*TINY, f"input.path={rows}", "input=file"]
    cooling = "{linear: {from: 1.5, to: 0.3, over: 5}}"
    settings = grid(common, temperature=(0, 0.7, cooling), top_p=(0.5, 1.0), frequency_penalty=(0, 0.8), seed=(1, 2))
    assert len(settings) == 24
    with Engines() as engines:
        together = Fused(engines, Watched()).run(points(tmp_path / "together", *settings))
        Fused(engines, Watched()).run(points(tmp_path / "turned", *settings)[::-1])
        for point in points(tmp_path / "alone", *settings):
            Fused(engines, Watched()).run([point])
    assert [(one.status, one.answered) for one in together] == [("finished", 6)] * 24
    alone = [results(tmp_path / "alone" / str(place)) for place in range(24)]
    assert [results(tmp_path / "together" / str(place)) for place in range(24)] == alone
    assert [results(tmp_path / "turned" / str(place)) for place in range(24)] == alone
    assert len(set(alone)) > 12, "the settings make a difference"


def test_points_of_one_engine_open_it_once_and_a_shared_prompt_is_read_once(rows: Path, tmp_path: Path) -> None:
    watched = Watched()
    text = "a question that is long enough to fill a whole piece of the cache, and then a little more than that. " * 2
    common = [*TINY, "++sampling.max_tokens=2", f"++input.text='{text}'", "input=text"]
    with Engines() as engines:
        Fused(engines, watched).run(points(tmp_path, *grid(common, temperature=(0.5, 0.6, 0.7, 0.8))))
        assert len(engines._open) == 1
    ends = [event for _, event in watched.events if isinstance(event, Inferred)]
    assert sorted(one.cached_tokens > 0 for one in ends) == [False, True, True, True]


def test_points_of_different_engines_run_one_kind_after_the_other_and_make_room(rows: Path, tmp_path: Path) -> None:
    fakes.fresh_log()
    specs = [fake_spec(name) for name in ("a", "b", "a", "b")]
    with Engines() as engines:
        done = Fused(engines, Watched()).run([Point(tmp_path / str(n), (), one) for n, one in enumerate(specs)])
        assert fakes.LOG.opened == ["a", "b"]
        assert fakes.LOG.closed == ["a"]
    assert [one.status for one in done] == ["finished"] * 4


def fake_spec(name: str = "fake", text: str = "hi", **options: object) -> RunSpec:
    return RunSpec(
        "dialogue",
        {
            "context": {"use": "context/full"},
            "prompt": {"use": "fuse/chat"},
            "schedule": {"use": "schedule/sampling"},
            "reply": {"use": "infer/generate"},
            "remember": {"use": "context/update"},
        },
        "reply",
        resources={"engine": {"use": "fake/engine", "name": name, **options}, "store": {"use": "store/memory"}},
        input={"use": "input/text", "text": text},
    )


def test_a_point_that_fails_fails_alone_and_its_record_and_log_say_so(tmp_path: Path) -> None:
    specs = [fake_spec(), fake_spec("bad", fails_to_open=True), fake_spec(text="fail")]
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "run.json").write_text("{}", encoding="utf-8")
    specs.append(fake_spec())
    watched = Watched()
    with Engines() as engines:
        done = Fused(engines, watched).run([Point(tmp_path / str(n), (), one) for n, one in enumerate(specs)])
    assert [(one.status, one.answered, one.failed) for one in done] == [
        ("finished", 1, 0), ("failed", 0, 0), ("finished", 0, 1), ("failed", 0, 0),
    ]  # fmt: skip
    assert told(done[1].error or Exception()) == "bad: no such weights. Choose another model."
    assert "there is a run.json in it already" in str(done[3].error)
    assert json.loads((tmp_path / "1" / "run.json").read_text())["status"] == "failed"
    assert "there is a run.json in it already" in (tmp_path / "3" / "vllm-flow.log").read_text()
    assert sorted(one.folder.name for one in watched.ended) == ["0", "1", "2", "3"]


def test_fail_fast_stops_the_others_which_can_then_be_gone_on_with(tmp_path: Path) -> None:
    specs = [fake_spec(text="fail"), fake_spec(text="please wait now"), fake_spec("later")]
    with Engines() as engines:
        done = Fused(engines, Watched(), fail_fast=True).run(
            [Point(tmp_path / str(n), (), one) for n, one in enumerate(specs)]
        )
    assert [one.status for one in done] == ["failed", "interrupted", "not run"]
    assert json.loads((tmp_path / "1" / "run.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "2").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_finishes_every_record_as_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    found = [Point(tmp_path / str(n), (), fake_spec(text="please wait now")) for n in range(3)]
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
    with Engines() as engines, pytest.raises(KeyboardInterrupt):
        Fused(engines, Watched()).run(found)
    assert [json.loads((one.folder / "run.json").read_text())["status"] for one in found] == ["interrupted"] * 3


def test_points_go_through_their_rows_abreast(tmp_path: Path) -> None:
    many = "".join(
        json.dumps({"id": f"r{n}", "messages": [{"role": "user", "content": f"row {n}"}]}) + "\n" for n in range(40)
    )
    (tmp_path / "many.jsonl").write_text(many, encoding="utf-8")
    specs = [RunSpec(**{**fake_spec(delay_s=0.001).content(), "concurrency": 8, "seed": n,
                        "input": {"use": "input/file", "path": str(tmp_path / "many.jsonl")}}) for n in range(4)]  # fmt: skip
    watched = Watched()
    with Engines() as engines:
        Fused(engines, watched).run([Point(tmp_path / str(n), (), one) for n, one in enumerate(specs)])
    order = [(event.result.turn.index, name) for name, event in watched.events if isinstance(event, TurnDone)]
    reached = dict.fromkeys("0123", 0)
    for index, name in order:
        reached[name] = max(reached[name], index)
        assert max(reached.values()) - min(reached.values()) <= 8
    assert set(reached.values()) == {39}
