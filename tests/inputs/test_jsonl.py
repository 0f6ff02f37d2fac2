"""Rows: which become turns, and what is said of the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vllm_flow.core.messages import Message, Text, assistant, system, user
from vllm_flow.core.registry import source
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs import File

HI = {"id": "q1", "messages": [{"role": "user", "content": "Hi"}]}
FORM = "Write {…} with 'messages', or with 'conversation' and 'text'."


@pytest.fixture
def write(tmp_path):
    def write_rows(*rows: object, end: str = "\n") -> Path:
        path = tmp_path / "rows.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_bytes("".join(line + end for line in lines).encode("utf-8", "surrogatepass"))
        return path

    return write_rows


def items(path: Path | str) -> list[Turn | BadRow]:
    return list(File(str(path)).turns())


def test_it_is_found_by_its_name():
    entry = source.find("input/file")
    assert entry is not None
    assert entry.cls is File
    assert entry.summary == "Rows of a file, which its ending says how to read: .jsonl, .csv, .tsv, .parquet."


def test_the_last_message_is_the_turn_and_the_rest_its_history(write):
    path = write(
        HI,
        {
            "id": 7,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "1+1?"},
                {"role": "assistant", "content": "2"},
                {"role": "user", "content": [{"type": "text", "text": "Sure"}, {"text": "?"}]},
            ],
        },
    )
    assert items(path) == [
        Turn("q1", user("Hi"), number=1, index=0),
        Turn(
            "7",
            Message("user", (Text("Sure"), Text("?"))),
            (system("Be brief."), user("1+1?"), assistant("2")),
            number=1,
            index=1,
        ),
    ]


def test_a_row_without_id_is_named_by_its_line(write):
    path = write({"messages": HI["messages"]}, "", {"messages": HI["messages"]})
    assert [(turn.conversation, turn.index) for turn in items(path)] == [("row-1", 0), ("row-3", 1)]


def test_rows_of_a_conversation_are_its_turns_in_file_order(write):
    path = write(
        {"conversation": "ann", "text": "Hi"},
        {"conversation": "bob", "parts": [{"text": "Hello"}, {"type": "text", "text": " there"}]},
        {"conversation": "ann", "text": "Is it raining?"},
        {"conversation": "carl", "text": "One", "turn": 4},
        {"conversation": "carl", "text": "Two", "turn": 6},
    )
    assert items(path) == [
        Turn("ann", user("Hi"), index=0),
        Turn("bob", Message("user", (Text("Hello"), Text(" there"))), index=1),
        Turn("ann", user("Is it raining?"), index=2),
        Turn("carl", user("One"), number=4, index=3),
        Turn("carl", user("Two"), number=6, index=4),
    ]


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_fine(write, tmp_path):
    path = write(HI, "", "  \t", {"conversation": "ann", "text": "é\u2028ü"}, end="\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().rstrip())
    assert items(path) == [Turn("q1", user("Hi"), number=1), Turn("ann", user("é\u2028ü"), index=1)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{", "not JSON, at character 2: Expecting property name enclosed in double quotes. Write one JSON value."),
        ("Hi", "not JSON, at character 1: Expecting value. Write one JSON value."),
        ("[1]", f"row: it is no mapping. {FORM}"),
        ("null", f"row: it is no mapping. {FORM}"),
        ("{}", "row: it has neither 'messages' nor 'conversation'. Give one of them."),
        ('{"text": "Hi"}', "row: it has neither 'messages' nor 'conversation'. Give one of them."),
        ('{"id": 1, "id": 2, "messages": []}', "the key 'id' is given twice. Keep one of them."),
        (
            '{"messages": [{"role": "user", "content": "a", "content": "b"}]}',
            "the key 'content' is given twice. Keep one of them.",
        ),
        ('{"id": NaN, "messages": []}', "NaN is not JSON. Write a finite number or null."),
        ("[" * 100_000, "nested too deeply to be read. Write it flatter."),
        (
            HI | {"meta": {"a": 1}},
            "row: there is no key 'meta'. Keys: feedback, id, messages, progress, reference, remember.",
        ),
        (
            HI | {"text": "Hi"},
            "row: there is no key 'text'. Keys: feedback, id, messages, progress, reference, remember.",
        ),
        (HI | {"id": 1.5}, "id: it is neither a text nor a whole number. Give one of them, or leave it out."),
        (HI | {"id": None}, "id: it is neither a text nor a whole number. Give one of them, or leave it out."),
        (HI | {"id": True}, "id: it is neither a text nor a whole number. Give one of them, or leave it out."),
        (HI | {"id": " "}, "id: it is empty. Give it a name."),
        ({"messages": []}, "messages: there are none. End with the user's message, which is the turn."),
        ({"messages": {}}, "messages: a mapping is no list. Put it in square brackets."),
        ({"messages": ["Hi"]}, "messages.0: 'Hi' is no mapping. Give one with the keys: role."),
        (
            {"messages": [{"role": "user", "contnet": "Hi"}]},
            "messages.0: there is no key 'contnet'. Did you mean 'content'? Keys: content, parts, role.",
        ),
        (
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]},
            "messages: the last is from the assistant. End with the user's, which is the turn.",
        ),
        ({"messages": [{"role": "user", "content": " \n"}]}, "messages.0: it is empty. Write what the user says."),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "image": "cat.png"}]}]},
            "messages.0.content.0.image: nothing here reads images and sounds. Add resources.media: {use: media/files}.",
        ),
        (
            {"conversation": "ann", "parts": [{"type": "video", "video": {}}]},
            "parts.0: a part of type 'video'. Types that are read: audio, image, text, tool_call, tool_result.",
        ),
        ({"conversation": 3, "text": "Hi"}, "conversation: 3 is no text. Put it in quotation marks."),
        ({"conversation": "", "text": "Hi"}, "conversation: it is empty. Give it a name."),
        ({"conversation": "ann"}, "row: it has neither of 'text' and 'parts'. Give one of them."),
        (
            {"conversation": "ann", "text": "Hi", "parts": []},
            "row: it has both of 'text' and 'parts'. Give one of them.",
        ),
        (
            {"conversation": "ann", "txet": "Hi"},
            "row: there is no key 'txet'. Did you mean 'text'? Keys: conversation, feedback, parts, progress, reference, remember, text, turn.",
        ),
        ({"conversation": "ann", "text": ["Hi"]}, "text: a list is no text. Put it in quotation marks."),
        ({"conversation": "ann", "text": ""}, "text: it is empty. Write what the user says."),
        ({"conversation": "ann", "parts": []}, "parts: it is empty. Write what the user says."),
        (
            {"conversation": "ann", "text": "Hi", "turn": 0},
            "turn: 0 does not fit. Give a whole number of 1 or more, below 2**63.",
        ),
        (
            {"conversation": "ann", "text": "Hi", "turn": "1"},
            "turn: '1' does not fit. Give a whole number of 1 or more, below 2**63.",
        ),
        (
            r'{"conversation": "ann", "text": "\ud83d"}',
            r"\ud83d is half a surrogate pair, which no text can hold. Write both halves.",
        ),
    ],
)
def test_a_bad_row_is_named_and_the_others_go_on(write, row, problem):
    path = write(HI | {"id": "before"}, row, HI | {"id": "after"})
    first, bad, last = items(path)
    assert bad == BadRow(1, f"{path}:2", problem)
    assert [(turn.conversation, turn.index) for turn in (first, last)] == [("before", 0), ("after", 2)]


def test_a_pair_of_surrogates_is_one_character(write):
    assert items(write(r'{"conversation": "ann", "text": "\ud83d\ude00"}')) == [Turn("ann", user("😀"))]


def test_an_id_may_stand_once(write):
    path = write(HI, HI | {"id": 5}, HI, HI | {"id": "5"}, {"conversation": "q1", "text": "Hi"})
    assert [item.problem for item in items(path)[2:]] == [
        "id: 'q1' is taken by line 1. Give each row its own id.",
        "id: '5' is taken by line 2. Give each row its own id.",
        "conversation: 'q1' is the id of line 1. Use another name.",
    ]
    path = write({"conversation": "q1", "text": "Hi"}, HI)
    assert items(path)[1] == BadRow(1, f"{path}:2", "id: 'q1' is taken by line 1. Give each row its own id.")


def test_file_order_is_turn_order(write):
    path = write(*({"conversation": "ann", "text": "Hi", "turn": turn} for turn in (1, 3, 3)))
    assert items(path)[2].problem == "turn: 3 stands after turn 3. File order is turn order: sort the rows."


def test_a_conversation_that_lacks_a_turn_does_not_go_on(write):
    path = write(
        {"conversation": "ann", "text": "My name is Ann."},
        {"conversation": "ann", "text": 5},
        {"conversation": "bob", "text": "Hi"},
        {"conversation": "ann", "text": "What did I say?"},
        r'{"conversation": "bob", "text": "\ud83d"}',
        {"conversation": "bob", "text": "And I?"},
        {"text": "To whom?"},
        {"conversation": "None", "text": "Hi"},
    )
    kinds = [item if isinstance(item, BadRow) else item.conversation for item in items(path)]
    assert kinds == [
        "ann",
        BadRow(1, f"{path}:2", "text: 5 is no text. Put it in quotation marks."),
        "bob",
        BadRow(3, f"{path}:4", "conversation: 'ann' lacks the turn of line 2. Correct that line."),
        BadRow(4, f"{path}:5", r"\ud83d is half a surrogate pair, which no text can hold. Write both halves."),
        BadRow(5, f"{path}:6", "conversation: 'bob' lacks the turn of line 5. Correct that line."),
        BadRow(6, f"{path}:7", "row: it has neither 'messages' nor 'conversation'. Give one of them."),
        "None",
    ]
