"""What a judge's verdicts add up to, whatever its taste, and what is said when it has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vllm_flow.engines.echo import pieces, token_id
from vllm_flow.judge.asking import Sweep
from vllm_flow.judge.results import Judgement
from vllm_flow.judge.telling import trust
from vllm_flow.judge.verdicts import Consistency, Pair, Reply
from vllm_flow.stages import Preference, Verdict
from vllm_flow.testing import completion

from .conftest import Ran, judge, lines, read, read_yaml, sweep, write_rows

SWEEP = Sweep(Path("s"), ("0", "1"), ({}, {}), "0", {}, {})
Flow = Callable[..., Ran]


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("A is right.\nVerdict: A", "A"),
        ("**Verdict: [[B]]**\n", "B"),
        ("verdict: Answer B.", "B"),
        ("Verdict:\n\nTie", "tie"),
        ("At first I thought\nVerdict: A\nbut no:\nVerdict: B", "B"),
        ("B", "B"),
        (" (tie) ", "tie"),
        ("Verdict: a", None),
        ("Verdict: A or B", None),
        ("Verdict: A better answer names the city", None),
        ("A is better", None),
        ("", None),
    ],
)
def test_a_verdict_is_what_the_last_such_line_says_or_none(reply: str, choice: str | None) -> None:
    assert Verdict().run(completion(reply)) == Preference(choice, reply)  # type: ignore[arg-type]


def test_a_judge_with_a_taste_prefers_the_points_that_have_it(project: Path, flow: Flow) -> None:
    sweep("4,6,2,4")
    ran = flow(*judge("longer"))
    assert ran.code == 0
    assert ran.rows == [
        ["1 sampling.max_tokens=6", "100 %", "preferred", "10", "0", "0", "100 % of 10", "0"],
        ["2 sampling.max_tokens=2", "0 %", "baseline preferred", "0", "0", "10", "100 % of 10", "0"],
        ["3 sampling.max_tokens=4", "50 %", "no difference shown", "0", "10", "0", "–", "0"],
    ]
    assert ran.said[:2] == [
        "40 of 40 verdicts",
        "The judge agrees with itself, when the answers change places, in 100% of 20 pairs; blind verdicts would by "
        "chance in 50%.",
    ]
    assert ran.said[-1] == str(Path("s/judge.json"))


def test_only_some_prompts_longer_gives_a_share_with_an_interval(project: Path, flow: Flow) -> None:
    words = [8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 2, 2]
    write_rows([{"conversation": f"q{n}", "text": " ".join("abcdefgh"[:count])} for n, count in enumerate(words)])
    sweep("3,5")
    ran = flow(*judge("longer", "--json"))
    data = json.loads(ran.out)
    assert data == read("s/judge.json")
    (point,) = data["points"]
    assert point["preference"] == pytest.approx(11 / 12)
    assert (point["wins"], point["ties"], point["identical"]) == (10, 2, 2)
    low, high = point["interval"]
    assert 0.5 < low < 11 / 12 < high <= 1
    assert point["p_value"] == 2 / 2**10  # of all sign flips of the ten prompts that differ, the two most extreme
    assert data["judge"]["resources"] == {"engine": {"engine": "echo", "model": "echo"}}


def test_a_judge_that_prefers_a_position_gives_ties_and_is_not_to_be_trusted(project: Path, flow: Flow) -> None:
    sweep("3,5")
    ran = flow(*judge("first"))
    assert ran.rows == [
        ["1 sampling.max_tokens=5", "50 %", "no difference shown", "0", "10", "0", "0 % of 10", "0"],
    ]
    assert ran.said[1] == (
        "The judge prefers a position, not an answer: it agrees with itself, when the answers change places, in 0% of "
        "10 pairs; blind verdicts would by chance in 50%. It chose whatever stood first in 10 pairs, and whatever stood "
        "second in 0. Do not trust its preferences; take another judge."
    )


def test_the_verdicts_of_a_blind_judge_are_ties_as_often_as_chance_has_it(project: Path, flow: Flow) -> None:
    write_rows([{"conversation": f"q{n}", "text": f"word{n} two three four five"} for n in range(40)])
    sweep("3,5")
    found = json.loads(flow(*judge("by chance", "--json")).out)
    one = found["consistency"]
    assert one["pairs"] == 40
    assert min(one["always_first"], one["always_second"]) >= 5
    assert abs(one["agreement"] - 0.5) < 0.2
    (point,) = found["points"]
    assert point["wins"] + point["losses"] == round(40 * one["agreement"])
    assert point["verdict"] == "no difference shown"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [(4, 1, "prefers a position, not an answer"), (3, 2, "says nothing of the answers")],
)
def test_a_judge_no_better_than_chance_is_said_to_be_so(first: int, second: int, said: str) -> None:
    both = [("point", "baseline")] * first + [("baseline", "point")] * second + [("point", "point")] * 2
    found = Consistency.of(Pair(Reply(one), Reply(other)) for one, other in both)
    assert (found.agreement, found.no_better_than_chance) == (2 / 7, True)
    assert found.chance == pytest.approx((9 / 14) ** 2 + (5 / 14) ** 2)
    whole = Judgement(SWEEP, {}, (), found, 0.95, "")
    assert trust(whole).startswith(f"The judge {said}: it agrees with itself")


def test_a_judge_that_always_calls_a_tie_is_consistent(project: Path, flow: Flow) -> None:
    sweep("3,5")
    ran = flow(*judge("tie"))
    assert ran.rows[0][1:] == ["50 %", "no difference shown", "0", "10", "0", "100 % of 10", "0"]
    assert "prefers a position" not in ran.err


def test_what_cannot_be_read_is_counted_and_is_no_tie(project: Path, flow: Flow) -> None:
    sweep("3,5")
    ran = flow(*judge("silent of word3"))
    assert ran.rows[0][1:] == ["100 %", "preferred", "9", "0", "0", "100 % of 9", "2"]
    assert ran.said[2] == (
        "2 verdicts could not be read, and their pairs do not count. What the judge wrote is in judge/results.jsonl."
    )
    Path("s/judge").rename("s/before")
    ran = flow(*judge("silent"))
    assert ran.rows[0][1:] == ["–", "too few prompts", "0", "0", "0", "–", "20"]


def test_a_judge_that_fails_leaves_no_verdicts_and_exit_code_1(project: Path, flow: Flow) -> None:
    sweep("3,5")
    ran = flow(*judge("failing"))
    assert ran.code == 1
    where = project / "s" / "judge"
    assert f"20 verdicts failed. Ask again with: vllm-flow resume {where} --retry-errors, then judge again." in ran.said
    assert read("s/judge.json")["points"][0]["failed"] == 20
    Path("mended").touch()
    assert flow("resume", "s/judge", "--retry-errors").code == 0
    again = flow(*judge("failing"))
    assert (again.code, again.rows[0][3]) == (0, "10")


def test_both_orders_are_asked_and_the_prompt_is_recorded(project: Path, flow: Flow) -> None:
    write_rows([{"conversation": "q", "text": "one two three"}])
    sweep("1,2")
    flow(*judge("longer"))
    asked = [row["message"]["content"] for row in lines("s/judge/results.jsonl")]
    short, long = "\none\n", "\none two\n"
    assert asked == [
        f"[Question]\none two three\n\n[Answer A]{a}[End of answer A]\n\n[Answer B]{b}[End of answer B]\n\n"
        "Which answer is better: A, B, or is it a tie?"
        for a, b in ((long, short), (short, long))
    ]
    told = read_yaml("s/judge/config.yaml")["graph"]["prompt"]["system"]
    calls = [call for row in lines("s/judge/calls.jsonl") for call in row["calls"] if "prompt_ids" in call]
    assert [call["prompt_ids"] for call in calls] == [
        [token_id(piece) for text in (told, question) for piece in pieces(text)] for question in asked
    ]
    assert [row["reference"]["first"] for row in lines("s/judge/results.jsonl")] == ["point", "baseline"]


def test_each_answer_of_a_conversation_is_shown_with_what_came_before_it(project: Path, flow: Flow) -> None:
    write_rows([{"conversation": "c", "text": text} for text in ("one two three", "four")])
    sweep("1,2")
    flow(*judge("longer"))
    asked = [row["message"]["content"] for row in lines("s/judge/results.jsonl")]
    assert len(asked) == 4  # the second answers are alike, but not what led to them
    assert asked[2].startswith(
        "[Question]\nfour\n\n"
        "[Conversation before answer A]\nUser: one two three\nAssistant: one two\n[End of that conversation]\n\n"
        "[Answer A]\nfour\n[End of answer A]\n\n"
        "[Conversation before answer B]\nUser: one two three\nAssistant: one\n[End of that conversation]\n\n"
    )


def test_samples_are_paired_and_averaged_within_their_prompt(project: Path, flow: Flow) -> None:
    sweep("3,5", "sweep.repeat=2")
    (point,) = json.loads(flow(*judge("longer", "--json")).out)["points"]
    assert (point["prompts"], point["wins"]) == (10, 20)


def test_points_without_a_finished_record_are_told_and_the_others_judged(project: Path, flow: Flow) -> None:
    sweep("3,5,6,7")
    run = Path("s/2/run.json")
    run.write_text(run.read_text(encoding="utf-8").replace('"finished",', '"interrupted",', 1), encoding="utf-8")
    (project / "s/3/run.json").write_text("{", encoding="utf-8")
    ran = flow(*judge("longer"))
    assert [row[0] for row in ran.rows] == ["1 sampling.max_tokens=5"]
    left = [line for line in ran.said if line.startswith("Point ")]
    assert left[0] == "Point 2 is not judged: interrupted."
    assert left[1].startswith(f"Point 3 is not judged: {project / 's' / '3'}: run.json is not as it was written: ")


def test_answers_to_other_questions_are_not_judged(project: Path, flow: Flow) -> None:
    asked = ["input.path=rows.jsonl", "engine=echo", "pipeline=complete", "hydra.sweep.dir=s"]
    write_rows([{"id": f"q{n}", "question": f"word{n}"} for n in range(3)])
    flow("-m", *asked, 'input.text="Q: {question}","Question: {question}"', "input.id=id")
    ran = flow(*judge("longer"))
    assert ran.rows[0][1:] == ["–", "too few prompts", "0", "0", "0", "–", "0"]
    assert ran.said[0] == "3 pairs cannot be judged: the questions differ."
    assert not Path("s/judge/run.json").exists()


def test_an_answer_that_is_missing_is_no_tie(project: Path, flow: Flow) -> None:
    sweep("3,5")
    rows = lines("s/1/results.jsonl")
    rows[0] |= {"value": None, "failure": {"node": "reply", "kind": "EngineError", "message": "no"}}
    Path("s/1/results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (point,) = json.loads(flow(*judge("longer", "--json")).out)["points"]
    assert (point["wins"], point["ties"], point["unanswered"]) == (9, 0, 1)
