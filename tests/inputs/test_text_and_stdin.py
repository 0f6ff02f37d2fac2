from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vllm_flow.core.errors import InputError
from vllm_flow.core.messages import user
from vllm_flow.core.registry import source
from vllm_flow.core.values import Turn
from vllm_flow.inputs import Text

SHOW = """
from vllm_flow.core.errors import InputError
from vllm_flow.inputs import Stdin
try:
    for item in Stdin().turns():
        print(ascii(item), flush=True)
except InputError as error:
    print("InputError:", error)
"""
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "0", "LC_ALL": "C"}


def piped(content: bytes) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", SHOW], env=ENV, input=content, capture_output=True, check=True, timeout=60
    )
    return ran.stdout.decode().splitlines()


def turn(text: str, index: int) -> str:
    return ascii(Turn("stdin", user(text), index=index))


def test_they_are_found_by_their_names():
    assert {entry.name: entry.summary for entry in source if entry.name != "input/file"} == {
        "input/text": "One text, as the user's turn, behind the images and sounds that it is about.",
        "input/stdin": "Lines of standard input: each is one turn of one conversation, `stdin`.",
    }


def test_a_text_is_one_turn():
    assert list(Text("Why is the sky blue?").turns()) == [Turn("text", user("Why is the sky blue?"))]
    assert list(Text("And\nnow?", "ann").turns()) == [Turn("ann", user("And\nnow?"))]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (Text(" \n"), "input.text: it is empty. Write text=… with something in it."),
        (Text("Hi", ""), "input.conversation: it is empty. Write conversation=… with something in it."),
        (Text("caf\udce9"), r"input.text: 'caf\udce9' is not Unicode. Use a UTF-8 terminal."),
    ],
)
def test_an_empty_or_broken_text_is_refused(options, problem):
    with pytest.raises(InputError) as caught:
        list(options.turns())
    assert str(caught.value) == problem


def test_each_line_of_standard_input_is_a_turn():
    content = "\ufeffHi\r\n\n  Grüße 😀 \nlast".encode()
    assert piped(content) == [turn("Hi", 0), turn("  Grüße 😀 ", 1), turn("last", 2)]


def test_rows_are_read_when_the_first_line_begins_with_a_brace():
    content = b'\n {"id": 1, "messages": [{"role": "user", "content": "Hi"}]}\nno row\n'
    assert piped(content) == [
        ascii(Turn("1", user("Hi"), number=1)),
        "BadRow(index=1, row='stdin:3', problem='not JSON, at character 1: Expecting value. Write one JSON value.')",
    ]


def test_a_brace_further_down_is_text():
    assert piped(b"Hi\n{}\n") == [turn("Hi", 0), turn("{}", 1)]


def test_nothing_piped_in_is_refused():
    assert piped(b"\n") == ["InputError: stdin: there are no rows. Write one row to a line."]


def test_another_encoding_is_refused():
    assert piped("ok\nGrüße".encode("latin-1")) == ["InputError: stdin:2: the text is not UTF-8. Save it as UTF-8."]


def test_after_a_line_that_cannot_be_read_no_other_is_answered():
    found = piped(b"x" * 70_000 + b"\n\xff\nmore\n")
    assert found[1:] == [
        "BadRow(index=1, row='stdin:2', problem='the text is not UTF-8, at byte 1. Save it as UTF-8.')",
        "BadRow(index=2, row='stdin:3', problem='the conversation lacks line 2. Correct that line.')",
    ]


def test_a_line_is_a_turn_as_soon_as_it_arrives():
    process = subprocess.Popen([sys.executable, "-c", SHOW], env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for index, text in enumerate(("one", "two")):
            process.stdin.write(text.encode() + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().decode().rstrip() == turn(text, index)
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo terminal is POSIX's")
def test_a_terminal_is_refused():
    parent, child = os.openpty()
    ran = subprocess.run(
        [sys.executable, "-c", SHOW], env=ENV, stdin=child, capture_output=True, check=True, timeout=60
    )
    os.close(parent)
    os.close(child)
    assert ran.stdout.decode().strip() == (
        "InputError: stdin: there is nothing piped in. Pipe text into the command, or use `vllm-flow chat`."
    )


@pytest.mark.skipif(sys.platform == "win32", reason="closing a stream of a child so is POSIX's")
def test_a_closed_standard_input_is_refused():
    command = ["sh", "-c", f"'{sys.executable}' -c \"$SHOW\" <&-"]
    ran = subprocess.run(command, env={**ENV, "SHOW": SHOW}, capture_output=True, check=True, timeout=60)
    assert ran.stdout.decode().startswith("InputError: stdin: there is nothing piped in.")
