"""The plan: what it says is what a run then does, and what cannot be known is said to be unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny_media import picture
from vllm_flow.cli import main
from vllm_flow.core.engines import Engines
from vllm_flow.sweep.fused import Fused
from vllm_flow.sweep.plan import planned

from .conftest import TINY, Watched, points


def test_what_is_planned_of_a_sweep_is_what_it_then_takes(rows: Path, tmp_path: Path) -> None:
    words = [*TINY, f"input.path={rows}", "input=file"]
    found = points(tmp_path, [*words, "++sampling.temperature=0"], [*words, "++sampling.temperature=1"])
    plan = planned(found, tmp_path / "outputs")
    (group,) = plan.groups
    assert (group.points, group.turns, group.prompts.turns) == ((0, 1), 12, 6)
    assert (group.seconds, plan.why) == (None, ("no record has this configuration",) * 2)
    with Engines() as engines:
        Fused(engines, Watched()).run(found)
        engine = engines._open[0][1]
        assert group.weight_bytes == engine.describe()["weight_bytes"]
        per_token = engine.describe()["kv_bytes_per_token"]
    timings = [json.loads(line) for line in (tmp_path / "0/timings.jsonl").read_text().splitlines()]
    first_turns = [one["prompt_tokens"] for one in timings if one["turn"] == 1]
    assert group.prompts.tokens is not None
    assert sum(first_turns) < group.prompts.tokens < sum(one["prompt_tokens"] for one in timings)
    assert group.kv_bytes == 12 * ((group.prompts.longest or 0) + 12) * per_token


def test_time_comes_from_records_with_the_same_engine_and_a_finished_point_is_said_to_be_done(
    rows: Path, tmp_path: Path
) -> None:
    words = [*TINY, f"input.path={rows}", "input=file"]
    with Engines() as engines:
        Fused(engines, Watched()).run(points(tmp_path / "outputs/runs", words))
    plan = planned(points(tmp_path, words, [*words, "seed=7"]), tmp_path / "outputs")
    assert plan.why == ("it has been run: outputs/runs/0", "no record has this configuration")
    (group,) = plan.groups
    assert group.earlier is not None
    assert group.seconds is not None
    assert group.earlier.runs == 1
    assert group.earlier.tokens_per_turn <= 12
    assert group.seconds == pytest.approx(12 * group.earlier.tokens_per_turn / group.earlier.tokens_per_s)
    other = planned(points(tmp_path, [*words, "++resources.engine.dtype=bfloat16"]), tmp_path / "outputs")
    assert other.groups[0].seconds is None


def test_what_a_run_that_was_gone_on_with_took_is_not_the_speed_of_its_engine(rows: Path, tmp_path: Path) -> None:
    words = [*TINY, f"input.path={rows}", "input=file"]
    with Engines() as engines:
        Fused(engines, Watched()).run(points(tmp_path / "outputs/runs", words))
    folder = tmp_path / "outputs/runs/0"
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "note", "text": "\u2028"}\n{"event": "cut')  # a text may hold what ends lines elsewhere
    again = points(tmp_path, [*words, "seed=7"])
    assert planned(again, tmp_path / "outputs").groups[0].earlier is not None
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**run, "resumed": [{"at": run["started"]}]}), encoding="utf-8")
    assert planned(again, tmp_path / "outputs").groups[0].earlier is None


def test_an_interrupted_record_names_the_command_that_goes_on(rows: Path, tmp_path: Path) -> None:
    words = ["engine=echo", f"input.path={rows}", "input=file"]
    with Engines() as engines:
        Fused(engines, Watched()).run(points(tmp_path / "outputs/sweeps", words))
    record = tmp_path / "outputs/sweeps/0/run.json"
    record.write_text(record.read_text().replace('"finished",', '"running",', 1), encoding="utf-8")
    (tmp_path / "outputs/sweeps/sweep.json").write_text("{}", encoding="utf-8")
    assert planned(points(tmp_path, words), tmp_path / "outputs").why == (
        "it did not end (running): outputs/sweeps/0; vllm-flow resume outputs/sweeps goes on",
    )


def test_prompts_that_leave_no_room_are_counted(rows: Path, tmp_path: Path) -> None:
    words = [*TINY, "++model.architecture.max_context=50", f"input.path={rows}", "input=file"]
    (group,) = planned(points(tmp_path, words), tmp_path).groups
    assert (group.prompts.longest or 0) + 12 > 50
    assert 0 < group.context_overflow <= 6


def test_prompts_are_planned_within_their_budget(rows: Path, tmp_path: Path) -> None:
    words = [*TINY, f"input.path={rows}", "input=file", "++graph.prompt.budget=40"]
    gives = "++graph.prompt.shares={history: {overflow: oldest}}"
    (group,) = planned(points(tmp_path, [*words, gives]), tmp_path).groups
    assert (group.context_overflow, group.prompts.refused) == (0, 0)
    assert 20 < (group.prompts.longest or 0) <= 40
    (stiff,) = planned(points(tmp_path, words), tmp_path).groups
    assert stiff.context_overflow == stiff.prompts.refused > 0
    (none,) = planned(points(tmp_path, [*words, "++graph.prompt.budget=9"]), tmp_path).groups
    assert (none.prompts.tokens, none.prompts.why_unknown, none.context_overflow) == (None, "none fits", 6)


def test_prompts_that_the_engine_refuses_are_counted_and_the_others_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(
        '{"text": "Hi", "image": "a.png"}\n{"text": "Hello", "image": null}\n', encoding="utf-8"
    )
    Path("a.png").write_bytes(picture(1, 8, 8).data or b"")
    assert (
        main(
            [
                "check",
                "--plan",
                *TINY,
                "input=file",
                "input.path=rows.jsonl",
                "++input.image=image",
                "input.text='{text}'",
            ]
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert "  turns: 2 at each of 1 points, 2 in all" in lines
    assert any(line.startswith("  prompt tokens: ") and "unknown" not in line for line in lines)
    assert (
        "  not read: 1 prompts; the first: the engine 'transformers' reads no images with this model: a.png. "
        "Choose a model that does, or have it put in words with fuse/describe."
    ) in lines


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["input=stdin"], "turns: unknown; the input comes from another program"),
        (["engine=echo"], "prompt tokens: unknown; the engine does not say what it reads"),
        (["model.path=nowhere"], "prompt tokens: unknown; model.path: nowhere: there is no such folder. Give one with"),
    ],
)
def test_what_is_unknown_is_said(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--plan", *words]) == 0
    said = capsys.readouterr().out
    assert told in said
    assert "time: unknown; no finished run here had this engine" in said
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_is_planned_group_by_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--plan", "-m", *TINY, "seed=1,2", "engine.threads=1,2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0\tseed=1 resources.engine.threads=1\tno record has this configuration"
    assert "group 1 of 2: engine/transformers, custom, points 0, 2" in lines
    assert "group 2 of 2: engine/transformers, custom, points 1, 3" in lines
    assert sum(line.startswith("  turns: 3 at each of 2 points, 6 in all") for line in lines) == 2


def test_what_cannot_be_planned_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-m", "seed=1,2"]) == 2
    assert capsys.readouterr().err == "-m (command line): one run is checked. Plan a sweep with --plan -m.\n"
    assert main(["check", "--plan", "-m", "seed=1,2", "sweep.search.trials=3", "engine=echo"]) == 2
    assert "sweep.search: a search finds its points while it runs. Plan without it." in capsys.readouterr().err
