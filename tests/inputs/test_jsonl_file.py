"""The file around the rows: missing, unreadable, in another encoding, large, a pipe, or anything at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from random import Random

import pytest

from vllm_flow.core.errors import InputError
from vllm_flow.core.messages import user
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs import File

HI = {"id": "q1", "messages": [{"role": "user", "content": "Hi"}]}


def items(path: Path | str) -> list[Turn | BadRow]:
    return list(File(str(path)).turns())


def refusal(path: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        next(File(str(path)).turns())
    return str(caught.value)


def test_a_file_that_is_not_there_is_named_with_the_nearest(tmp_path):
    for name in ("notes.txt", "questions.jsonl", "answers.jsonl"):
        (tmp_path / name).write_text("{}")
    assert refusal(tmp_path / "question.jsonl") == (
        f"{tmp_path}/question.jsonl: there is no such file. Did you mean 'questions.jsonl'? "
        "Files in its folder: answers.jsonl, questions.jsonl, notes.txt."
    )
    assert refusal(tmp_path / "nowhere" / "q.jsonl") == (
        f"{tmp_path}/nowhere/q.jsonl: there is no folder '{tmp_path}/nowhere'. Name a file that exists."
    )


def test_of_many_files_eight_are_listed(tmp_path):
    for number in range(12):
        (tmp_path / f"{number:02}.jsonl").touch()
    assert refusal(tmp_path / "x") == (
        f"{tmp_path}/x: there is no such file. Files in its folder: "
        + ", ".join(f"{number:02}.jsonl" for number in range(8))
        + ", …."
    )


def test_a_folder_is_refused_with_its_files(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: it is a folder. Name a file. Files in its folder: none."


def test_an_impossible_path_is_refused():
    assert refusal("a\0b") == r"'a\x00b': it cannot be opened (embedded null byte). Name another file."
    assert refusal("~nobody-here/x") == (
        "'~nobody-here/x': it cannot be opened (Could not determine home directory.). Name another file."
    )


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_file_without_permission_is_refused():
    """As another user when we are root, whom no permission stops."""
    code = """
import os, tempfile
from vllm_flow.core.errors import InputError
from vllm_flow.inputs import File
with tempfile.NamedTemporaryFile() as file:
    os.chmod(file.name, 0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        next(File(file.name).turns())
    except InputError as error:
        print(str(error).replace(file.name, "FILE"))
    os.seteuid(os.getuid())
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "FILE: no permission to read it. Grant it, or name another file.\n"


@pytest.mark.parametrize("content", [b"", b"\n\n  \r\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_rows_is_refused(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    assert refusal(path) == f"{path}: there are no rows. Write one row to a line."


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = json.dumps({"conversation": "ann", "text": "Grüße"}, ensure_ascii=False)
    path.write_bytes(json.dumps(HI).encode() + b"\n" + row.encode("latin-1"))
    assert refusal(path) == f"{path}:2: the text is not UTF-8. Save it as UTF-8."
    path.write_bytes(row.encode("utf-16"))
    assert refusal(path) == f"{path}:1: the text is not UTF-8. Save it as UTF-8."
    path.write_bytes(json.dumps(HI).encode("utf-16-le"))
    assert refusal(path) == f"{path}:1: a zero byte, so this is no UTF-8 text. Save it as UTF-8."


def test_a_stray_byte_far_down_costs_its_row_only(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [json.dumps(HI | {"id": number}).encode() for number in range(3000)]
    rows[2500] = b'{"id": 2500, "messages": [\xff]}'
    path.write_bytes(b"\n".join(rows))
    found = items(path)
    assert found[2500] == BadRow(2500, f"{path}:2501", "the text is not UTF-8, at byte 27. Save it as UTF-8.")
    assert sum(isinstance(item, Turn) for item in found) == 2999


def test_nothing_is_read_before_the_first_step_and_no_file_is_held_whole(tmp_path):
    path = tmp_path / "rows.jsonl"
    turns = File(str(path)).turns()  # there is no file yet
    with path.open("w") as stream:
        for number in range(4000):
            stream.write(json.dumps({"conversation": "ann", "text": f"{number} " + "x" * 5000}) + "\n")
    tracemalloc.start()
    count = sum(1 for _ in turns)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 4000
    assert peak < 1_000_000, "20 MB went through"


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe with a name is POSIX's")
def test_rows_come_through_a_pipe_as_they_are_written(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writing = os.open(path, os.O_RDWR)
    os.write(writing, json.dumps(HI).encode() + b"\n")
    turns = File(str(path)).turns()
    assert next(turns) == Turn("q1", user("Hi"), number=1)
    os.write(writing, json.dumps(HI | {"id": "q2"}).encode() + b"\n")
    assert next(turns) == Turn("q2", user("Hi"), number=1, index=1)
    turns.close()
    os.close(writing)


def test_300_mutated_files_give_turns_and_bad_rows_and_nothing_else(tmp_path):
    random, path = Random(5), tmp_path / "rows.jsonl"
    rows = [
        HI,
        {"conversation": "ann", "text": "Grüße 😀", "turn": 1},
        {"conversation": "bob", "parts": [{"text": "x"}]},
    ]
    original = b"".join(json.dumps(row, ensure_ascii=row is HI).encode() + b"\n" for row in rows)
    pieces = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\ud800", b"1e999", b"-", b"9" * 5000, b"null", b"\n"]
    pieces += [b"\xff", b"\0", b"NaN", b"\xe2\x80", b"[" * 3000, b"true", b"\xef\xbb\xbf", b'"turn": ', b'"id"']
    counts = {Turn: 0, BadRow: 0, InputError: 0}
    for _ in range(300):
        content = bytearray(original)
        for _ in range(random.randint(1, 4)):
            start = random.randrange(len(content) + 1)
            end = min(len(content), start + random.choice([0, 0, 1, 5, 30]))
            content[start:end] = random.choice(pieces)
        path.write_bytes(content)
        try:
            for index, item in enumerate(File(str(path)).turns()):
                assert item.index == index
                counts[type(item)] += 1
        except InputError:
            counts[InputError] += 1
    assert all(counts.values()), counts
