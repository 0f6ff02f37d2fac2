"""Comma and tab separated values: what is a row, where it stands, and that each fault costs one."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from random import Random

import pytest

from vllm_flow.core.errors import InputError
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs import File


@pytest.fixture
def write(tmp_path):
    def write_file(content: str | bytes, name: str = "rows.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write_file


def texts(path: str, text: str = "{q}") -> list[str]:
    return [item.problem if isinstance(item, BadRow) else item.text for item in File(path, text=text).turns()]


def refusal(path: str, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        next(File(path, **options).turns())
    return str(caught.value)


def test_rows_are_numbered_by_the_line_on_which_they_begin(write):
    path = write('\ufeffq,answer\r\n"two\nlines, and ""more""",1\r\n\r\n  plain , 2 \r\nlast,\r\n')
    assert list(File(path, text="{q}", reference="answer").turns()) == [
        Turn("row-2", user('two\nlines, and "more"'), number=1, index=0, reference="1"),
        Turn("row-5", user("  plain "), number=1, index=1, reference=" 2 "),
        Turn("row-6", user("last"), number=1, index=2),
    ]


def test_tabs_separate_in_a_tsv_file(write):
    assert texts(write('q\tb\na, b\t1\n"tab\there"\t2\n', "rows.TSV"), "{q}|{b}") == ["a, b|1", "tab\there|2"]


def test_a_row_at_fault_is_named_and_the_others_go_on(write):
    long = "x" * 140_000
    path = write(
        f'a,q\n1,one\n2\n3,three,3\n4,"fo"ur\n5,fi\rve\n6,{long}\n7,\n8,eight\n9,"nine\n10,ten\n'.encode()
        + b"11,\xff\n"
    )
    found = list(File(path, text="{q}").turns())
    assert [item.text for item in found if isinstance(item, Turn)] == ["one", "eight"]
    mark = "Put a field with a comma or a line break into quotation marks."
    assert [item for item in found if isinstance(item, BadRow)] == [
        BadRow(1, f"{path}:3", f"it has 1 of 2 fields. {mark}"),
        BadRow(2, f"{path}:4", f"it has 3 of 2 fields. {mark}"),
        BadRow(
            3,
            f"{path}:5",
            "text stands after a closing quotation mark. Double the quotation marks inside a quoted field.",
        ),
        BadRow(4, f"{path}:6", "a carriage return stands by itself. Put its field into quotation marks."),
        BadRow(
            5,
            f"{path}:7",
            "a field of over 131072 characters, up to line 7. Close its quotation mark, or write JSON lines.",
        ),
        BadRow(6, f"{path}:8", "q: it is empty. Write what the user says."),
        BadRow(
            8,
            f"{path}:10",
            "a quotation mark is open up to line 12, the last. Close it, or double it inside a quoted field.",
        ),
    ]


def test_a_stray_byte_costs_its_row_only(write):
    rows = [f"{'x' * 60},{number}".encode() for number in range(2000)]
    rows[1500] = b'"caf\xe9 and\na second line",1500'
    path = write(b"q,n\n" + b"\n".join(rows))
    found = list(File(path, text="{q} {n}").turns())
    assert found[1500] == BadRow(1500, f"{path}:1502", "the text is not UTF-8, at byte 5. Save it as UTF-8.")
    assert found[1501] == Turn("row-1504", user(f"{'x' * 60} 1501"), number=1, index=1501)
    assert sum(isinstance(item, Turn) for item in found) == 1999


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", ": there are no rows. Write one row to a line, the first with the columns' names."),
        (b"\n\n", ": there are no rows. Write one row to a line, the first with the columns' names."),
        (b"q,a\n\n", ": there are no rows below the columns' names. Write one row to a line."),
        (b"q,\nx,y\n", ":1: column 2 has no name. Write one into the first line."),
        (b"\nq,a,q\n1,2,3\n", ":2: the column 'q' is there twice. Rename one of them."),
        (b'"q"a\n1\n', ":1: text stands after a closing quotation mark. Double the quotation marks inside a quoted field."),
        (b"question;answer\n1;2\n", ": there is no column 'q'. Columns: question;answer."),
        (b"q\ncaf\xe9\n", ":2: the text is not UTF-8. Save it as UTF-8."),
        ("q\na\n".encode("utf-16-le"), ":1: a zero byte, so this is no UTF-8 text. Save it as UTF-8."),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_such_rows_is_refused(write, content, problem):
    path = write(content)
    assert refusal(path, text="{q}") == f"{path}{problem}"


def test_columns_with_the_names_of_the_strict_form_need_no_mapping(write):
    path = write("conversation,text,turn,reference\nann,Hi,1,\nann,And you?,3,fine\nbob,,,x\nann,,4,\nann,Bye,5,\n")
    assert list(File(path).turns()) == [
        Turn("ann", user("Hi"), number=1, index=0),
        Turn("ann", user("And you?"), number=3, index=1, reference="fine"),
        BadRow(2, f"{path}:4", "row: it has neither of 'text' and 'parts'. Give one of them."),
        BadRow(3, f"{path}:5", "row: it has neither of 'text' and 'parts'. Give one of them."),
        BadRow(4, f"{path}:6", "conversation: 'ann' lacks the turn of line 5. Correct that line."),
    ]
    talk = json.dumps([{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Hi"}])
    stream = io.StringIO()
    csv.writer(stream).writerows([["messages", "id"], [talk, "q1"], ["{", ""], [talk, ""]])
    path = write(stream.getvalue())
    assert list(File(path).turns()) == [
        Turn("q1", user("Hi"), (assistant("Yes?"),), number=1, index=0),
        BadRow(
            1,
            f"{path}:3",
            "messages: not JSON, at character 2: Expecting property name enclosed in double quotes. Write one JSON value.",
        ),
        Turn("row-4", user("Hi"), (assistant("Yes?"),), number=1, index=2),
    ]


@pytest.mark.parametrize(
    ("header", "columns"), [("question,answer", "answer, question"), ("text", "text"), ("messages,x", "messages, x")]
)
def test_other_columns_need_one(write, header, columns):
    path, first = write(f"{header}\na,b\n"), header.partition(",")[0]
    assert refusal(path) == (
        f"{path}: the columns are {columns}, and nothing says what the user says. "
        f'Write input.text="… {{{first}}} …", or input.messages=COLUMN.'
    )


def peak_of_reading(path: Path, rows: int) -> int:
    """Peak of Python's memory, in bytes, while a file of that many rows is written and read."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("question,answer\n")
        for number in range(rows):
            stream.write(f'"What is {number} + {number}, {"x" * 100}?",{2 * number}\n')
    tracemalloc.start()
    count = sum(1 for _ in File(str(path), text="Q: {question}", reference="answer").turns())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == rows
    return peak


def test_no_file_is_held_whole(tmp_path):
    peak = peak_of_reading(tmp_path / "rows.csv", 5_000)
    assert peak < 300_000, "700 kB went through"


@pytest.mark.full
def test_200_000_rows_take_no_more_memory_than_5_000(tmp_path):
    few, many = (peak_of_reading(tmp_path / "rows.csv", rows) for rows in (5_000, 200_000))
    assert many < few + 20_000, "28 MB went through"


def test_300_mutated_files_give_turns_and_bad_rows_and_nothing_else(tmp_path):
    random, path = Random(7), tmp_path / "rows.csv"
    original = 'q,answer\r\nWhat?,1\r\n"two\nlines, ""quoted""",é\r\n,\r\nlast,2\r\n'.encode()
    pieces = [
        b'"',
        b",",
        b"\n",
        b"\r",
        b"\xff",
        b"\0",
        b'""',
        b"\xef\xbb\xbf",
        b"x" * 140_000,
        b"\xe2\x80",
        b"{q}",
        b"\t",
    ]
    counts = {Turn: 0, BadRow: 0, InputError: 0}
    for _ in range(300):
        content = bytearray(original)
        for _ in range(random.randint(1, 4)):
            start = random.randrange(len(content) + 1)
            end = min(len(content), start + random.choice([0, 0, 1, 5]))
            content[start:end] = random.choice(pieces)
        path.write_bytes(content)
        try:
            for index, item in enumerate(File(str(path), text="{q}", reference="answer").turns()):
                assert item.index == index
                counts[type(item)] += 1
        except InputError:
            counts[InputError] += 1
    assert all(counts.values()), counts
