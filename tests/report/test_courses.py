"""How parameters moved: planned against what was, with the signals, and no more of it than a page can carry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.replay.runs import TINY
from tests.report.test_page import IN_BROWSER, browsed, data_of, page_of
from vllm_flow.cli import main
from vllm_flow.core import registry
from vllm_flow.core.recorded import read
from vllm_flow.report.courses import MOST_POINTS, Courses

FALL = "sampling.temperature={linear: {from: 1.0, to: 0.2, over: 8}}"
WORDS = ("input.path=rows.jsonl", "hydra.run.dir=run")
ECHO = ("engine=echo", "sampling.max_tokens=900")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs three conversations, the second of two turns and the third long, and gives the folder."""
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    said = [("a", "to be or not"), ("b", "that is"), ("b", "the question again"), ("c", "word " * 500)]
    rows = [{"conversation": name, "text": text} for name, text in said]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def run(*words: str) -> Path:
        own = () if "model=custom" in words else ECHO
        assert main([*WORDS, *own, *words]) == 0
        return tmp_path / "run"

    return run


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    lines = (folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        change(row["calls"][0])
    (folder / "calls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def courses(folder: Path) -> list[dict[str, Any]]:
    answers = data_of(page_of(folder))["answers"]["answers"]
    return [one.get("course", {}) for row in answers for samples in row for one in samples]


def test_where_nothing_moves_there_is_nothing(ran: Callable[..., Path]) -> None:
    by_turn = "sampling.temperature={linear: {from: 1, to: 0, over: 9, by: turn}}"
    folder = ran(by_turn, "sampling.top_p={linear: {from: 0.5, to: 0.5, over: 9}}")
    assert courses(folder) == [{}] * 4


def test_what_went_as_planned_is_there_once(ran: Callable[..., Path]) -> None:
    short, first, second, long = courses(ran(FALL))
    values = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.2]
    assert short["curves"] == [{"name": "temperature", "points": values[: short["length"]], "planned": True}]
    assert [one["curves"][0]["planned"] for one in (first, second, long)] == [True] * 3
    assert (short["signals"], "thin" in short) == ([], False)


def test_of_a_later_turn_and_by_progress_the_plan_is_that_turns(ran: Callable[..., Path]) -> None:
    by_turn = {"linear": {"from": 1, "to": 0, "over": 4, "by": "turn"}}
    moving = f"sampling.temperature={{product: [{json.dumps(by_turn).replace(chr(34), '')}, {FALL.partition('=')[2]}]}}"
    folder = ran(moving, "sampling.top_p={linear: {from: 1, to: 0.5, over: 1, by: progress}}")
    _, _, second, _ = courses(folder)
    temperature, top_p = second["curves"]
    assert temperature["points"][:3] == pytest.approx([0.75, 0.675, 0.6])
    assert top_p["points"][:2] == pytest.approx([1.0, 1 - 0.5 / 900], rel=1e-4)
    assert temperature["planned"] is top_p["planned"] is True


def test_what_did_not_go_as_planned_stands_beside_the_plan(ran: Callable[..., Path]) -> None:
    folder = ran(FALL)

    def colder(call: dict[str, Any]) -> None:
        call["moving"]["temperature"][2:] = [0.25 for _ in call["moving"]["temperature"][2:]]

    edit(folder, colder)
    short, *_ = courses(folder)
    (curve,) = short["curves"]
    assert curve["points"][:4] == [1.0, 0.9, 0.25, 0.25]
    assert curve["planned"][:4] == [1.0, 0.9, 0.8, 0.7]


def test_what_follows_signals_has_them_and_no_plan(ran: Callable[..., Path]) -> None:
    follows = "sampling.temperature={entropy: {from: 0.2, to: 1.0, at_nats: 8}}"
    folder = ran(*TINY, follows, "model.architecture.max_context=4096")
    course, *_ = courses(folder)
    (curve,), (signal,) = course["curves"], course["signals"]
    assert (list(curve), signal["name"], course["length"]) == (["name", "points"], "entropy", len(curve["points"]))
    told = [0.2 + 0.8 * min(1.0, entropy / 8) for entropy in signal["points"]]
    assert curve["points"] == pytest.approx(told, abs=1e-3)
    assert len(set(told)) > 1


PRESETS = (
    "graph.manner.presets={calm: {temperature: {linear: {from: 0.2, to: 1, over: 8}}}, "
    "lively: {temperature: {linear: {from: 1, to: 0.2, over: 8}}}}"
)


def test_of_a_node_that_chose_among_presets_there_is_no_plan(ran: Callable[..., Path]) -> None:
    found = [one["curves"][0] for one in courses(ran("pipeline=adaptive", PRESETS)) if one]
    assert len(found) == 4
    assert {one["points"][0] for one in found[:3]} <= {0.2, 1.0}  # the fourth is thinned
    assert all("planned" not in one for one in found)


GONE = """from vllm_flow import Now, schedule


@schedule("report-gone")
def gone(now: Now) -> float:
    \"\"\"Falls.\"\"\"
    return 1 / (1 + now.token)
"""


def test_a_plan_whose_code_is_gone_is_none_and_the_record_is_drawn(ran: Callable[..., Path]) -> None:
    Path("stages").mkdir()
    Path("stages/feel.py").write_text(GONE, encoding="utf-8")
    folder = ran("sampling.temperature=report-gone")
    assert courses(folder)[0]["curves"][0]["planned"] is True
    del registry.schedule._entries["report-gone"]
    Path("stages/feel.py").write_text("", encoding="utf-8")
    found = Courses(read(folder))
    found.read(frozenset({0}))
    course = found.of(0, 1, 0)
    assert course is not None
    assert list(course["curves"][0]) == ["name", "points"]


def test_long_curves_are_thinned_out_and_the_page_says_so(ran: Callable[..., Path]) -> None:
    folder = ran("sampling.temperature={cyclic: {low: 0.1, high: 1.0, period: 7}}")
    answers = data_of(page_of(folder))["answers"]
    assert answers["left_out"] == "Curves of more than 200 tokens are thinned out; every value is in calls.jsonl."
    course = answers["answers"][-1][0][0]["course"]
    (curve,) = course["curves"]
    assert (course["length"] > 400, course["thin"]) == (True, True)
    assert len(curve["points"]) <= MOST_POINTS
    assert (curve["points"][0], curve["points"][-1][0]) == ([0, 0.1], course["length"] - 1)
    short = len(json.dumps(answers["answers"][0]))
    assert len(json.dumps(answers["answers"][-1])) - short < 8_000


def test_of_several_answers_each_has_its_own(ran: Callable[..., Path]) -> None:
    Path("pipelines").mkdir()
    Path("pipelines/several.yaml").write_text(
        "# @package _global_\n# Several.\ndefaults: [/context: full, _self_]\ngraph:\n  prompt: {use: fuse/chat}\n"
        "  schedule: {use: schedule/sampling}\n  reply: {use: infer/sample}\noutput: reply\n",
        encoding="utf-8",
    )
    folder = ran("pipeline=several", "sampling.n=2", FALL)
    lines = (folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        for call in row["calls"]:
            call["moving"]["temperature"][1] = call["sample"] / 4
    (folder / "calls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (samples,) = data_of(page_of(folder))["answers"]["answers"][0]
    assert [(one["sample"], one["course"]["curves"][0]["points"][1]) for one in samples] == [(0, 0), (1, 0.25)]


@IN_BROWSER
def test_a_browser_draws_plan_and_course_and_signals(ran: Callable[..., Path], tmp_path: Path) -> None:
    folder = ran(FALL)

    def changed(call: dict[str, Any]) -> None:
        call["moving"]["temperature"][1] = 0.5

    edit(folder, changed)
    page_of(folder)
    dom, console, asked = browsed(folder / "report.html", tmp_path)
    body = dom.partition("</main>")[0]
    assert (console, asked) == ([], [])
    assert body.count('<figure class="course">') == 1
    figure = body.partition('<figure class="course">')[2].partition("</figure>")[0]
    assert figure.count("<polyline") == 2
    assert 'class="base"' in figure
    assert "dashed: planned" in figure
    assert "temperature over" in figure
