"""Parquet: the same turns as from other files, only the columns that are used, and a file that is damaged."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from vllm_flow.core.errors import InputError
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs import File


@pytest.fixture
def write(tmp_path):
    def write_table(columns: dict[str, Any], **options: Any) -> str:
        path = tmp_path / "rows.parquet"
        parquet.write_table(pa.table(columns), path, **options)
        return str(path)

    return write_table


def refusal(path: str, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        list(File(path, **options).turns())
    return str(caught.value)


def test_rows_are_numbered_from_one_over_all_batches_and_row_groups(write):
    path = write(
        {"q": [f"text {n}" for n in range(1000)], "a": list(range(1000)), "x": [b"\0"] * 1000}, row_group_size=300
    )
    turns = list(File(path, text="{q}", reference="a").turns())
    assert len(turns) == 1000
    assert turns[999] == Turn("row-1000", user("text 999"), number=1, index=999, reference=999)
    assert [turn.reference for turn in turns] == list(range(1000))
    assert [turn.conversation for turn in File(path, text="{q}", id="a", limit=2).turns()] == ["0", "1"]


def test_dates_decimal_numbers_and_maps_are_written_as_other_files_have_them(write):
    columns = {
        "day": [date(2026, 11, 24)],
        "at": [datetime(2026, 11, 24, 9, 30, tzinfo=UTC)],
        "price": [Decimal("1.50")],
        "tags": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "none": pa.nulls(1),
    }
    (turn,) = File(write(columns), text="{day} {at} {price} {tags} {none}", reference="tags").turns()
    assert turn.text == '2026-11-24 2026-11-24T09:30:00+00:00 1.50 {"a": 1} '
    assert turn.reference == {"a": 1}


def test_messages_are_a_list_of_mappings_whose_nulls_were_not_there(write):
    talk = [{"role": "assistant", "content": "Yes?", "name": "x"}, {"role": "user", "content": "Hi", "name": None}]
    path = write({"messages": [talk[1:], talk], "id": [1, None]})
    first, second = File(path).turns()
    assert first == Turn("1", user("Hi"), number=1)
    assert second == BadRow(
        1, f"{path}:2", "messages.0: there is no key 'name'. Keys: content, parts, role, tool_calls."
    )
    plain = [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Hi"}]
    path = write({"chat": [plain], "other": [1]})
    assert list(File(path, messages="chat").turns()) == [Turn("row-1", user("Hi"), (assistant("Yes?"),), number=1)]


def test_a_row_that_cannot_be_read_fails_alone(write):
    texts = pa.StringArray.from_buffers(3, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xffb"))
    path = write({"q": texts, "r": [1.0, 2.0, float("nan")], "b": [b"x", b"y", b"z"]})
    assert list(File(path, text="{q}", reference="r").turns()) == [
        Turn("row-1", user("a"), number=1, index=0, reference=1.0),
        BadRow(1, f"{path}:2", "the text is not UTF-8. Save it as UTF-8."),
        BadRow(2, f"{path}:3", "r: the value: nan is no JSON number. Use a finite one or None."),
    ]
    assert next(File(path, text="{b}").turns()) == BadRow(
        0, f"{path}:1", "b: the value: bytes cannot be written as JSON. Use texts, numbers, lists and mappings."
    )


def test_columns_are_looked_for_in_the_file(write):
    path = write({"question": ["a"], "answer": [1]})
    lacking = f"{path}: there is no column 'qestion'. Did you mean 'question'? Columns: answer, question."
    assert refusal(path, text="{qestion}") == lacking
    assert refusal(path) == (
        f"{path}: the columns are answer, question, and nothing says what the user says. "
        'Write input.text="… {question} …", or input.messages=COLUMN.'
    )
    parquet.write_table(pa.table([["a"], ["b"]], names=["q", "q"]), path)
    assert refusal(path, text="{q}") == f"{path}: the column 'q' is there twice. Rename one of them."
    path = write({"question": pa.array([], pa.string())})
    assert refusal(path, text="{question}") == f"{path}: there are no rows. Write some into it."


def test_what_is_no_parquet_file_or_a_damaged_one_is_refused(write, tmp_path):
    no_file = tmp_path / "no.parquet"
    no_file.write_bytes(b"q,a\n1,2\n" * 10)
    assert refusal(str(no_file), text="{q}").startswith(f"{no_file}: it cannot be read as parquet (")
    path = write({"q": [f"{n} " * 20 for n in range(2000)]}, row_group_size=1000, compression="snappy")
    content = bytearray(Path(path).read_bytes())
    middle = len(content) // 2 + 200
    content[middle : middle + 400] = bytes(400)
    Path(path).write_bytes(content)
    assert refusal(path, text="{q}").startswith(f"{path}: reading stopped after row 768 (")


def test_300_mutated_files_give_turns_bad_rows_and_refusals_and_nothing_else(write):
    random = Random(3)
    path = write({"q": [f"{n} äö" for n in range(600)], "a": [{"x": [n]} for n in range(600)]}, row_group_size=200)
    original, counts = Path(path).read_bytes(), {Turn: 0, BadRow: 0, InputError: 0}
    for _ in range(300):
        content = bytearray(original)
        for _ in range(random.randint(1, 6)):
            content[random.randrange(len(content))] = random.randrange(256)
        Path(path).write_bytes(content)
        try:
            for item in File(path, text="{q}", reference="a").turns():
                counts[type(item)] += 1
        except InputError:
            counts[InputError] += 1
    assert all(counts.values()), counts


def test_of_a_large_file_little_is_held_at_a_time(write):
    """Arrow's own memory, which Python does not see."""
    path = write(
        {"q": [f"{n} " + "x" * 1000 for n in range(20_000)], "big": ["y" * 4000] * 20_000},
        row_group_size=2000,
        compression="none",
        use_dictionary=False,
    )
    before, most = pa.total_allocated_bytes(), 0
    for _ in File(path, text="{q}").turns():
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 10_000_000, "20 MB of one column went through, and 80 MB lay beside it"


def test_without_pyarrow_check_says_what_to_install(monkeypatch, write):
    path = write({"q": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as Python itself marks what must not be imported
    missing = 'a parquet file needs pyarrow, which is not installed. Run: pip install "vllm-flow[data]".'
    assert list(File(path, text="{q}").problems()) == [OptionProblem(("path",), missing)]
    assert refusal(path, text="{q}") == f"input.path: {missing}"


def test_pyarrow_is_imported_only_for_a_parquet_file(write, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("q\na\n", encoding="utf-8")
    code = (
        "import sys\nfrom vllm_flow.inputs import File\n"
        f"list(File({str(rows)!r}, text='{{q}}').turns())\n"
        f"assert not list(File({write({'q': ['a']})!r}, text='{{q}}').problems())\n"
        "print('pyarrow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
