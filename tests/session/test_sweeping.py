"""A sweep from Python is that of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vllm_flow
from vllm_flow.core.errors import ConfigError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)


def test_every_point_has_its_record_and_its_outcome(capfd: pytest.CaptureFixture[str]) -> None:
    outcomes = vllm_flow.run_sweep("story", ["engine=echo", "input.text=Hi, you", "sampling.temperature=0.2,0.7"])
    assert [(one.status, one.answered) for one in outcomes] == [("finished", 1)] * 2
    rows = [json.loads((one.folder / "results.jsonl").read_text(encoding="utf-8")) for one in outcomes]
    assert [row["value"]["text"] for row in rows] == ["Hi, you"] * 2
    assert (outcomes[0].folder.parent / "sweep.json").exists()
    assert capfd.readouterr() == ("", "")


def test_engines_of_ones_own_stay_open() -> None:
    with vllm_flow.Engines() as engines:
        for _ in range(2):
            vllm_flow.run_sweep(overrides=["engine=echo", "input.text=hi", "sweep.grid={seed:[1,2]}"], engines=engines)
            assert len(engines._open) == 1


def test_faults_come_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sampling\.temperature"):
        vllm_flow.run_sweep("story", "sampling.temperature=0.2,-1")
    assert list(tmp_path.iterdir()) == []
