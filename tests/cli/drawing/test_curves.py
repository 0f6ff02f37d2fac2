"""Curves of sampling parameters: what a terminal gets, what one without such characters gets, and what the file has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from vllm_flow.cli.drawing.curves import DOTS, drawn, to_ascii
from vllm_flow.cli.drawing.curves_svg import HEIGHT, LEFT, MOST_POINTS, WIDTH, curves_to_svg
from vllm_flow.cli.drawing.plans import Plan, plans
from vllm_flow.cli.drawing.terminal import in_plain
from vllm_flow.config import compose
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.moving import Now
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.planned import Planned
from vllm_flow.core.registry import schedule

NS = "{http://www.w3.org/2000/svg}"
FIELD = Planned("top_p", "edt", "token", (0.5,), (0.1, 0.9), ("entropy", "feedback"), 20)
UNBOUND = Planned("top_p", "calm", "turn", (0.5,), None, ("feedback",), 8)


def curve(values: tuple[float, ...], axis: Any = "token") -> Planned:
    return Planned("temperature", "linear", axis, values, None, (), len(values))


def text(*moving: Planned, width: int = 80) -> list[str]:
    return in_plain(drawn([Plan("schedule", moving, "stays: n 1")], width), "utf-8").splitlines()


def dots(lines: list[str]) -> list[list[int]]:
    """Of each column of dots the heights that are set, from below."""
    rows = [line.partition("┤")[2] or line.partition("│")[2] for line in lines]
    found: list[list[int]] = [[] for _ in range(2 * max(map(len, rows)))]
    for place, row in enumerate(rows):
        for column, cell in enumerate(row):
            code = ord(cell) - 0x2800 if cell != " " else 0
            for dot, pair in enumerate(DOTS):
                for side in (0, 1):
                    if code & pair[side]:
                        found[2 * column + side].append(4 * (len(rows) - place) - 1 - dot)
    return found


def test_every_token_stands_at_its_height_and_steps_are_joined() -> None:
    lines = text(curve((0.0, 1.0, 0.5, 0.5)), width=19)
    assert lines == [
        "temperature  linear, token by token",
        "1 ┤    ⡏⠉⠉⠉⡆",
        "  │    ⡇   ⡇",
        "  │    ⡇   ⠓⠒⠒⠒⠒⠒⠒⠒",
        "  │    ⡇",
        "0 ┤⣀⣀⣀⣀⠇",
        "  └────────────────",
        "   token 0        3",
        "",
        "stays: n 1",
    ]
    columns = dots(lines[1:6])
    assert [columns[place] for place in (0, 9, 17)] == [[0], [19], [10]]
    assert sorted(columns[8]) == list(range(1, 20))


def test_a_spike_of_one_token_among_thousands_is_seen() -> None:
    columns = dots(text(curve(tuple(1.0 if place == 1777 else 0.2 for place in range(4096))))[1:6])
    assert [place for place, column in enumerate(columns) if 19 in column] == [1777 * 128 // 4096]


def test_a_chart_has_the_width_it_is_given_but_for_words() -> None:
    for width in (30, 50, 200):
        lines = text(curve((0.25, 0.5)), width=width)
        assert max(map(len, lines[1:-2])) == min(width, 64 + 6)


def test_what_is_one_value_is_a_line_in_the_middle() -> None:
    lines = text(curve((0.7,) * 9), width=30)
    assert (lines[1], lines[3], lines[5]) == ("0.7 ┤", "    │" + "⠒" * 25, "0.7 ┤")


def test_what_follows_a_signal_is_its_beginning_within_its_bounds() -> None:
    assert text(FIELD, width=24) == [
        "top_p  edt, token by token: follows entropy, feedback; begins at 0.5, between 0.1 and 0.9",
        "0.9 ┤░░░░░░░░░░░░░░░░░░░",
        "    │░░░░░░░░░░░░░░░░░░░",
        "    │●░░░░░░░░░░░░░░░░░░",
        "    │░░░░░░░░░░░░░░░░░░░",
        "0.1 ┤░░░░░░░░░░░░░░░░░░░",
        "    └───────────────────",
        "     token 0          19",
        "",
        "stays: n 1",
    ]
    assert text(UNBOUND) == [
        "top_p  calm, turn by turn: follows feedback; begins at 0.5, without bounds",
        "",
        "stays: n 1",
    ]


def test_where_there_is_only_ascii_a_cell_becomes_what_is_most_like_it() -> None:
    lines = [to_ascii(line) for line in text(curve((0.0, 1.0, 0.5, 0.5)), width=19)]
    assert lines[1:8] == [
        "1 +    |'''|",
        "  |    |   |",
        "  |    |   '-------",
        "  |    |",
        "0 +....|",
        "  +----------------",
        "   token 0        3",
    ]
    assert all(line.isascii() for line in lines)
    assert to_ascii("0.1 ┤●░░") == "0.1 +*.."


def test_several_nodes_that_plan_the_same_are_one_plan_and_others_have_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "two.yaml").write_text(
        "# @package _global_\n# Two and a story.\ndefaults: [dialogue, _self_]\ngraph:\n"
        "  cold: {use: schedule/sampling, set: {temperature: 0}}\n"
        "  warm: {use: schedule/sampling, set: {min_p: 0}}\n"
        "  again: {use: infer/generate, from: {schedule: cold}}\n"
        "  third: {use: infer/generate, from: {schedule: warm}}\n"
        "  keep: {use: context/update, from: {reply: again, schedule: cold}}\n"
        "  hold: {use: context/update, from: {reply: third, schedule: warm}}\noutput: reply\n",
        encoding="utf-8",
    )
    falls = "sampling.temperature={linear: {from: 1, to: 0, over: 9}}"
    found = plans(Pipeline.build(compose(["pipeline=two", "engine=echo", "sampling=plain", falls])))
    assert [(one.nodes, len(one.moving), one.rest[:32]) for one in found] == [
        ("schedule, warm", 1, "stays: max_tokens 192, top_p 0.9"),
        ("cold", 0, "nothing moves; stays: max_tokens"),
    ]
    lines = in_plain(drawn(found, 40), "utf-8").splitlines()
    assert (lines[0], lines[2], lines[-3]) == ("schedule, warm", "temperature  linear, token by token", "cold")


def test_of_a_node_that_chooses_each_preset_is_drawn_and_what_changes_it_plans_the_same() -> None:
    budget = "sampling.max_tokens={budget: {most: 90, tokens: 900}}"
    found = plans(Pipeline.build(compose(["pipeline=adaptive", "engine=echo", "sampling=plain", budget])))
    assert [(one.nodes, [moving.parameter for moving in one.moving]) for one in found] == [
        ("manner (calm), schedule (calm)", ["max_tokens"]),
        ("manner (lively), schedule (lively)", ["temperature", "max_tokens"]),
    ]


def test_a_schedule_whose_options_have_no_hash_is_drawn(own_registry: None) -> None:
    @schedule("table")
    @dataclass(frozen=True)
    class Table:
        """Values by token."""

        values: Mapping[str, float]

        def at(self, now: Now) -> float:
            return self.values.get(f"t{now.token}", 1.0)

    settings = "sampling.temperature={table: {values: {t2: 0.5}}}"
    (found,) = plans(Pipeline.build(compose(["engine=echo", "sampling=plain", settings])))
    assert found.moving[0].values[:4] == (1.0, 1.0, 0.5, 1.0)


def test_a_file_has_a_line_for_each_parameter_within_its_frame() -> None:
    moving = (curve(tuple((place % 97) / 96 for place in range(5000))), curve((1, 5, 3), "turn"), FIELD, UNBOUND)
    drawing = curves_to_svg("mine <&>", [Plan("a", moving, "stays: n 1"), Plan("b", (), "nothing")])
    root = Xml.fromstring(drawing)
    assert root.findtext(f"{NS}title") == "mine <&>"
    charts = {one.attrib["data-parameter"]: one for one in root.iter(f"{NS}g") if "data-parameter" in one.attrib}
    assert list(charts) == ["temperature", "top_p"]
    every = [one for one in root.iter(f"{NS}g") if "data-parameter" in one.attrib]
    paths = [
        path.attrib["d"] for one in every for path in one.findall(f"{NS}path[@class]") if "wire" in path.attrib["class"]
    ]
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", paths[0])]
    assert len(points) <= MOST_POINTS
    assert (points[0][0], points[-1][0]) == (LEFT, LEFT + WIDTH)
    heights = [y for _, y in points]
    assert max(heights) - min(heights) == pytest.approx(HEIGHT)
    assert paths[1] == f"M64.0 136.0H{LEFT + WIDTH / 2:.1f}V26.0H{LEFT + WIDTH:.1f}V81.0"
    assert len(every) == 4
    assert every[2].find(f"{NS}circle").attrib["cy"] == "81.0"  # type: ignore[union-attr]
    assert every[3].find(f"{NS}rect") is None
    assert re.search(r"(href|url\(|<script|@import)", drawing) is None
    said = [one.text for one in root.iter(f"{NS}text")]
    assert {"a", "b", "stays: n 1", "nothing", "token 0", "4999", "turn 1", "3"} <= set(said)


def test_a_graph_without_a_schedule_has_no_plan() -> None:
    pipeline = Pipeline.build(compose(["pipeline=perplexity", "engine=echo"]))
    with pytest.raises(ConfigError) as caught:
        plans(pipeline)
    assert str(caught.value) == (
        "graph: no node of 'perplexity' makes a schedule, so no parameter is in force. Add schedule/sampling."
    )
