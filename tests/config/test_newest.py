"""One schedule a parameter: of those that files and the command line give it, the newest, as with numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vllm_flow.config import compose, points_for
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.pipeline import Pipeline

FALLS = "# @package sampling\n# Falls.\ntemperature: {linear: {from: 1.0, to: 0.2, over: 4}}\n"
EXPERIMENT = (
    "# @package _global_\n# An experiment.\ndefaults: [{override /sampling: falls}]\n"
    "sampling: {temperature: {cosine: {from: 1.0, to: 0.2, over: 9}}}\n"
)
COSINE = "sampling.temperature={cosine: {from: 2.0, to: 1.0, over: 8}}"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in {"sampling/falls": FALLS, "experiment/mine": EXPERIMENT}.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")


def temperature(*words: str) -> Any:
    return compose(["engine=echo", *words]).sampling["temperature"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["sampling=falls"], {"linear": {"from": 1.0, "to": 0.2, "over": 4}}),
        (["sampling=falls", "sampling.temperature=0.3"], 0.3),
        (["sampling=falls", "sampling.temperature.linear.to=0.5"], {"linear": {"from": 1.0, "to": 0.5, "over": 4}}),
        (["sampling=falls", COSINE], {"cosine": {"from": 2.0, "to": 1.0, "over": 8}}),
        (["experiment=mine"], {"cosine": {"from": 1.0, "to": 0.2, "over": 9}}),
        (["experiment=mine", "sampling.temperature.linear.to=0.5"], {"linear": {"from": 1.0, "to": 0.5, "over": 4}}),
    ],
)
def test_the_newest_is_in_force(words: list[str], found: Any) -> None:
    assert temperature(*words) == found


TWO = "# @package sampling\n# Two.\ntemperature:\n  cosine: {from: 1.0, to: 0.2, over: 9}\n  constant: 0.5\n"


def test_two_beside_each_other_are_refused_and_neither_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "conf/sampling/two.yaml").write_text(TWO, encoding="utf-8")
    both = "sampling.temperature={linear: {from: 1, to: 0, over: 2}, constant: 0.5}"
    for name, words in {"cosine": ["sampling=two"], "linear": ["sampling=falls", both]}.items():
        assert list(temperature(*words)) == [name, "constant"]
        with pytest.raises(ConfigError) as caught:
            Pipeline.build(compose(["engine=echo", *words]))
        assert f"{name} and constant are two schedules in one place" in str(caught.value)
    assert temperature("sampling=two", COSINE) == {"cosine": {"from": 2.0, "to": 1.0, "over": 8}}
    assert temperature("sampling=two", "sampling.temperature.constant=0.7") == {"constant": 0.7}


def test_a_node_may_be_called_as_a_parameter_is(tmp_path: Path) -> None:
    heat = "# @package _global_\n# Heat.\ngraph:\n  temperature: {use: fuse/plain, from: {turn: turn}}\noutput: temperature\n"
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/heat.yaml").write_text(heat, encoding="utf-8")
    found = compose(["engine=echo", "pipeline=heat"]).graph
    assert found == {"temperature": {"use": "fuse/plain", "from": {"turn": "turn"}}}


def test_each_point_of_a_sweep_has_its_own() -> None:
    swept = f"{COSINE},{{linear: {{from: 3, to: 1, over: 2}}}},0.7"
    points = points_for(["-m", "engine=echo", "sampling=falls", swept])
    assert [one.spec.sampling["temperature"] for one in points] == [
        {"cosine": {"from": 2.0, "to": 1.0, "over": 8}},
        {"linear": {"from": 3, "to": 1, "over": 2}},
        0.7,
    ]


def test_in_the_options_of_a_node_too() -> None:
    wild = "graph.manner.presets.lively.temperature={linear: {from: 1, to: 0.2, over: 8}}"
    manner = compose(["engine=echo", "pipeline=adaptive", wild]).graph["manner"]
    assert manner["presets"]["lively"]["temperature"] == {"linear": {"from": 1, "to": 0.2, "over": 8}}


def test_where_it_was_written_is_known() -> None:
    spec = compose(["engine=echo", "experiment=mine"])
    assert spec.origin(("sampling", "temperature", "cosine", "over")) == "conf/experiment/mine.yaml:4"
