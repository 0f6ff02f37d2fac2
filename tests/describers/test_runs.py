"""Pictures in words from end to end: in the prompt, in the ledger, in the record, and told again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.describers.tiny import LABELS, tiny_classifier
from tests.pictures import drawn
from vllm_flow.cli import main
from vllm_flow.core.recorded import read

Run = Callable[..., tuple[int, str, str]]
ECHO = (
    "pipeline=caption",
    "engine=echo",
    "tagger=imagenet",
    "tagger.path=tiny",
    "graph.seen.above=0",
    "graph.seen.most=1",
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    tiny_classifier(tmp_path / "tiny")
    for name, color in (("red.png", "red"), ("blue.png", "blue")):
        (tmp_path / name).write_bytes(drawn(color).data or b"")

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def newest(kind: str = "runs") -> Path:
    return max(Path("outputs", kind).glob("*/*"), key=lambda one: one.stat().st_mtime)


def test_a_picture_is_told_in_words_recorded_and_told_again(run: Run) -> None:
    code, out, error = run(*ECHO, "input.image=red.png", "input.text=Well?")
    assert code == 0
    assert error.startswith("red.png: described (seen: by tiny)\n")
    lines = out.rstrip("\n").split("\n")
    assert (lines[0], lines[1], lines[3], lines[4]) == ("<picture>", "[red.png]", "</picture>", "Well?")
    label, probability = lines[2].removeprefix("seen: ").rsplit(" (", 1)
    assert label in LABELS
    (row,) = read(newest()).calls().values()
    seen, reply = row["calls"]
    assert (seen["node"], seen["resource"], seen["method"]) == ("seen", "tagger", "tags")
    best = seen["value"]["told"][0]
    assert (best[0], f"{best[1]:.0%}".replace("%", " %)")) == (label, probability)
    (media,) = (one for one in reply["ledger"]["entries"] if one["segment"] == "media")
    assert media["sources"] == ["red.png (seen)"]
    about = json.loads((newest() / "run.json").read_text())["resources"]["tagger"]
    assert (about["model"], about["labels"]) == ("tiny", 4)
    assert run("replay", str(newest()), "--verify")[:2] == (0, "the answer is equal\n")


def test_a_picture_that_nobody_describes_fails_its_turn_in_words(run: Run) -> None:
    code, _, error = run("pipeline=caption", "engine=echo", "input.image=red.png")
    assert code == 1
    assert "graph.described (fuse/describe): red.png: nothing here describes a picture. Choose reader=rapidocr" in error
    code, out, error = run("pipeline=caption", "engine=echo", "input.image=red.png", "graph.described.undescribed=say")
    assert (code, out) == (0, "<picture>\n[red.png]\n[this picture could not be described]\n</picture>\n")
    assert "red.png: nothing here describes a picture" in error


def test_what_was_shown_before_is_described_again_in_the_history(run: Run) -> None:
    shown = [
        {"conversation": "a", "parts": [{"type": "image", "image": f"{name}.png"}, {"text": "Well?"}]}
        for name in ("red", "blue")
    ]
    Path("rows.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [*shown, {"conversation": "a", "text": "And?"}])
    )
    assert run(*ECHO, "input.path=rows.jsonl")[0] == 0
    *_, last = read(newest()).calls().values()
    media = [one for one in last["calls"][-1]["ledger"]["entries"] if one["segment"] == "media"]
    assert [(one["items"], one["sources"]) for one in media] == [(2, ["red.png (seen)", "blue.png (seen)"])]
    assert [call["value"]["asked"] for call in last["calls"][:-1]] == [drawn("red").digest, drawn("blue").digest]


def test_all_points_of_a_sweep_are_told_the_same(run: Run) -> None:
    code, _, error = run("-m", *ECHO, "sampling.temperature=0,1", "input.image=blue.png", "input.text=Well?")
    assert code == 0
    assert error.count("blue.png: described (seen: by tiny)\n") == 1
    points = sorted(newest("sweeps").glob("[01]"))
    told = [read(point).results()[0]["value"]["text"] for point in points]
    assert len(told) == 2
    assert told[0] == told[1]
    first, second = (next((point / "media").iterdir()) for point in points)
    assert first.samefile(second)
    shutil.rmtree(points[0])
    assert second.read_bytes() == drawn("blue").data
    assert run("replay", str(points[1]), "--verify")[:2] == (0, "the answer is equal\n")
