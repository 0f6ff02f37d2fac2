"""Columns of a file: a template made of them, messages in one, names and references; and all that may be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vllm_flow.core.errors import InputError
from vllm_flow.core.messages import assistant, system, user
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.template import Template
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs import File


@pytest.fixture
def write(tmp_path):
    def write_rows(*rows: object) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return str(path)

    return write_rows


def refusal(file: File) -> str:
    with pytest.raises(InputError) as caught:
        next(file.turns())
    return str(caught.value)


def faults(**options: object) -> list[str]:
    graph = {"reply": {"use": "infer/generate", "from": {"prompt": "prompt"}}}
    graph = {
        "context": {"use": "context/full"},
        "prompt": {"use": "fuse/chat"},
        "schedule": {"use": "schedule/sampling"},
        **graph,
    }
    resources = {"engine": {"use": "engine/echo"}, "store": {"use": "store/memory"}}
    try:
        Pipeline.build(RunSpec("test", graph, "reply", resources, input={"use": "input/file", **options}))
    except Exception as error:
        return str(error).splitlines()
    return []


def test_a_template_names_columns_and_the_others_are_not_looked_at(write):
    path = write({"question": "1+1?", "answer": 2, "meta": {"a": 1}}, {"question": "2+2?", "answer": [4, None]})
    assert list(File(path, text="Q: {question}\nA:", reference="answer").turns()) == [
        Turn("row-1", user("Q: 1+1?\nA:"), number=1, index=0, reference=2),
        Turn("row-2", user("Q: 2+2?\nA:"), number=1, index=1, reference=[4, None]),
    ]


def test_a_column_names_the_conversation_once_each(write):
    rows = [{"q": "a", "n": "x"}, {"q": "b", "n": 7}, {"q": "c", "n": "x"}, {"q": "d", "n": 1.5}, {"q": "e", "n": ""}]
    path = write(*rows)
    first, second, *bad = File(path, text="{q}", id="n").turns()
    assert [first.conversation, second.conversation] == ["x", "7"]
    assert bad == [
        BadRow(2, f"{path}:3", "n: 'x' is taken by line 1. Give each row its own."),
        BadRow(3, f"{path}:4", "n: it is neither a text nor a whole number. Give one of them, or leave it out."),
        BadRow(4, f"{path}:5", "n: it is empty. Give it a name."),
    ]


def test_a_column_holds_the_messages(write):
    talk = [{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Yes?", "name": None}]
    asked = {"role": "user", "content": "Hi"}
    path = write(
        {"chat": [*talk, asked], "source": "x"}, {"chat": json.dumps([asked])}, {"chat": talk}, {"chat": "[", "a": 1}
    )
    assert list(File(path, messages="chat").turns()) == [
        Turn("row-1", user("Hi"), (system("Be brief."), assistant("Yes?")), number=1, index=0),
        Turn("row-2", user("Hi"), number=1, index=1),
        BadRow(2, f"{path}:3", "chat: the last is from the assistant. End with the user's, which is the turn."),
        BadRow(3, f"{path}:4", "chat: not JSON, at character 2: Expecting value. Write one JSON value."),
    ]


def test_cells_are_written_as_json_writes_them_and_nothing_for_null(write):
    path = write({"a": "ü {b}", "b": None, "c": [1, "é"], "d": True, "e": 0.5})
    (turn,) = File(path, text="{a}|{b}|{c}|{d}|{e}|{a}").turns()
    assert turn.text == 'ü {b}||[1, "é"]|true|0.5|ü {b}'


def test_a_row_without_the_column_or_with_nothing_in_it_fails_alone(write):
    path = write({"q": "a", "hint": ""}, {"question": "b"}, {"q": " ", "hint": None}, {"q": "c", "hint": "d"})
    found = list(File(path, text="Q: {q} {hint}").turns())
    assert found == [
        Turn("row-1", user("Q: a "), number=1, index=0),
        BadRow(1, f"{path}:2", "there is no column 'q'. Columns: question."),
        BadRow(2, f"{path}:3", "q, hint: it is empty. Write what the user says."),
        Turn("row-4", user("Q: c d"), number=1, index=3),
    ]


def test_a_column_that_the_first_row_lacks_is_refused_with_the_nearest(write):
    path = write({"question": "a", "answer": 1})
    lacking = f"{path}:1: there is no column 'qestion'. Did you mean 'question'? Columns: answer, question."
    assert refusal(File(path, text="{qestion}")) == lacking
    assert (
        refusal(File(path, text="{question}", id="key"))
        == f"{path}:1: there is no column 'key'. Columns: answer, question."
    )
    reference = f"{path}:1: there is no column 'answr'. Did you mean 'answer'? Columns: answer, question."
    assert refusal(File(path, text="{question}", reference="answr")) == reference


def test_a_template_reaches_nothing_but_the_row(write):
    path = write({"q": "a", "q.upper": "b", "q[0]": "c"})
    (turn,) = File(path, text="{q.upper} {q[0]}").turns()
    assert turn.text == "b c"
    assert (
        refusal(File(path, text="{q.__class__}"))
        == f"{path}:1: there is no column 'q.__class__'. Columns: q, q.upper, q[0]."
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "a brace stands alone. Write {column}, and {{ or }} for a brace itself."),
        ("a } b {c}", "a brace stands alone. Write {column}, and {{ or }} for a brace itself."),
        ("{}", "'{}' does not fit. Write {column} with its name."),
        ("{ q}", "'{ q}' does not fit. Write {column} with its name."),
        ("{q!r}", "'{q!r}' does not fit. Write {column} with its name."),
        ("{q:>{width}}", "'{q:>{width}}' does not fit. Write {column} with its name."),
        ("Hi", "there is no {column} in it, so all rows would say the same. Write one, or ask without a file."),
        ("{{q}}", "there is no {column} in it, so all rows would say the same. Write one, or ask without a file."),
    ],
)  # fmt: skip
def test_a_text_that_is_no_template_is_found_by_check(text, problem):
    assert faults(path="rows.csv", text=text) == [f"input.text: {problem}"]
    assert refusal(File("rows.csv", text=text)) == f"input.text: {problem}"


def test_braces_are_written_twice():
    assert Template.parse('{{"q": "{q}"}}').fill({"q": "{{a}}"}) == '{"q": "{{a}}"}'


def test_options_that_do_not_go_together_are_found_by_check():
    assert faults(path="a.csv", text="{q}", messages="m") == [
        "input.messages: text and messages exclude each other. Give one of them."
    ]
    alone = "it names a column beside text or messages. Give one of these, too."
    assert faults(path="a.csv", id="n", reference="r") == [f"input.id: {alone}", f"input.reference: {alone}"]
    assert faults(path="a.csv", limit=0) == ["input.limit: 0 does not fit. It takes an integer of 1 or more, or null."]
    endings = "Endings: .jsonl, .ndjson, .csv, .tsv, .parquet, or none for JSON lines."
    assert faults(path="a.xlsx") == [f"input.path: no rows are read from a file that ends in '.xlsx'. {endings}"]


def test_the_first_rows_alone_are_read_and_those_at_fault_count(write):
    path = write({"q": "a"}, [], {"q": "c"}, {"q": "d"})
    assert [item.index for item in File(path, text="{q}", limit=3).turns()] == [0, 1, 2]
    assert len(list(File(path, text="{q}", limit=9).turns())) == 4


def test_rows_of_the_strict_form_may_have_a_reference(write):
    path = write(
        {"id": "a", "messages": [{"role": "user", "content": "Hi"}], "reference": {"any": [0]}},
        {"conversation": "b", "text": "Hi", "reference": 0},
        {"conversation": "b", "text": "Hi", "reference": None},
    )
    assert [turn.reference for turn in File(path).turns()] == [{"any": [0]}, 0, None]


def test_a_file_without_an_ending_holds_json_lines(tmp_path: Path):
    path = tmp_path / "rows"
    path.write_text('{"q": "a"}\n', encoding="utf-8")
    assert [turn.text for turn in File(str(path), text="{q}").turns()] == ["a"]
