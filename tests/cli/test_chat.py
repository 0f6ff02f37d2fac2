"""The chat, with lines from a pipe and, for Ctrl-C, at a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.test_command import COMMAND, POSIX, SLOW, as_process
from tests.command import flow
from vllm_flow.core.errors import listed
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.plugins import load_built_in
from vllm_flow.core.registry import schedule
from vllm_flow.core.values import Turn
from vllm_flow.stores.sqlite import Sqlite

pytestmark = pytest.mark.usefixtures("own_registry")
load_built_in()
SCHEDULES = listed(one.name for one in schedule if one.cls.__module__.startswith("vllm_flow."))
ECHO = ("chat", "engine=echo", "store.path=kept.sqlite")


def test_a_chat_answers_remembers_and_goes_on(tmp_path: Path) -> None:
    first = as_process(tmp_path, *ECHO, input="hello there\n\nagain\n")
    assert (first.returncode, first.stdout) == (0, "hello there\nagain\n")
    name = first.stderr.split("Conversation ")[1].split(";")[0]
    second = as_process(tmp_path, *ECHO, "-c", input="third\n/context\n")
    assert f"Going on with {name}, 2 turns so far." in second.stderr
    assert "6 messages, 8 tokens as a prompt" in second.stderr
    assert Sqlite(str(tmp_path / "kept.sqlite")).open().last_conversation() == name


def test_the_slash_commands_do_what_help_says(tmp_path: Path) -> None:
    lines = [
        "/help",
        "one two three",
        "/set sampling.max_tokens 1",
        "four five",
        "/retry",
        "/undo",
        "/save kept.jsonl",
        "/bye",
    ]
    said = flow(tmp_path, *ECHO, typed="\n".join(lines))
    assert said.returncode == 0
    assert said.stdout == "one two three\nfour\nfour\n"
    assert "sampling.max_tokens is now 1" in said.stderr
    assert "Taken back: four five" in said.stderr
    (row,) = map(json.loads, (tmp_path / "kept.jsonl").read_text(encoding="utf-8").splitlines())
    assert [message["content"] for message in row["messages"]] == ["one two three", "one two three"]
    again = flow(tmp_path, "engine=echo", "input.path=kept.jsonl")
    assert again.stderr.startswith("kept.jsonl:1: messages: the last is from the assistant. End with the user's")


def test_a_chat_remembers_and_forgets_what_it_is_told(tmp_path: Path) -> None:
    lines = [
        "/facts",
        "/remember city = Oslo",
        "/facts",
        "hello",
        "/forget City",
        "/facts",
        "again",
        "/remember a=b",
        "/bye",
    ]
    said = flow(tmp_path, *ECHO, "context=facts", typed="\n".join(lines))
    assert (said.returncode, said.stderr.count("Nothing is remembered yet.")) == (0, 2)
    assert "city is Oslo, from what you say next on." in said.stderr
    assert "\ncity: Oslo\n" in said.stderr
    assert "City is forgotten, from what you say next on." in said.stderr
    assert said.stdout.startswith("What is known of the user:\n<memory>\ncity: Oslo\n</memory>\n\nhello\nagain\n")
    assert "What was to be remembered (a) was followed by nothing you said, and is not kept." in said.stderr


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/remember city", "/remember: name or value is missing. Write, for example, /remember city=Oslo"),
        ("/forget", "/forget: the name is missing. There is: city."),
        ("/forget ctiy", "/forget: nothing is remembered as 'ctiy'. Did you mean 'city'? There is: city."),
    ],
)
def test_what_cannot_be_remembered_or_forgotten_is_said(tmp_path: Path, line: str, problem: str) -> None:
    said = flow(tmp_path, *ECHO, "context=facts", typed=f"/remember city=Oslo\nhello\n{line}\n")
    assert problem in said.stderr


def test_a_chat_without_facts_says_how_to_have_them(tmp_path: Path) -> None:
    said = flow(tmp_path, *ECHO, typed="/remember city=Oslo\n/facts\n/forget city\n")
    what = "this pipeline keeps no facts. Choose one that does, such as pipeline=dialogue context=facts."
    assert said.stderr.count(what) == 3


def test_a_chat_branches_and_goes_on_in_either(tmp_path: Path) -> None:
    lines = ["one", "two", "three", "/title My numbers", "/undo", "/fork 1", "another two", "/search two"]
    said = flow(tmp_path, *ECHO, typed="\n".join(lines))
    assert (said.returncode, said.stdout.splitlines()) == (0, ["one", "two", "three", "another two"])
    told = said.stderr.splitlines()
    fork = told[2].removeprefix("Now in ").partition(";")[0]
    name = told[2].partition("chat -c ")[2].removesuffix("` goes back.")
    assert told == [
        "This conversation is called: My numbers",
        "Taken back: three",
        f"Now in {fork}; `vllm-flow chat -c {name}` goes back.",
        *(f"{fork}, turn 2, {role}: another two" for role in ("assistant", "user")),
        *(f"{name}, turn 2, {role}: two" for role in ("assistant", "user")),
        f"Conversation {fork}; `vllm-flow chat -c` goes on with it.",
    ]
    store = Sqlite(str(tmp_path / "kept.sqlite")).open()
    listed = [(one.name, one.title, one.turns) for one in store.conversations()]
    assert listed == [(fork, "My numbers", 2), (name, "My numbers", 2)]
    assert [one.turn.text for one in store.turns(fork)] == ["one", "another two"]
    assert [one.turn.text for one in store.taken_back(name)] == ["three"]
    store.close()
    back = flow(tmp_path, *ECHO, "-c", name, typed="three again\n")
    assert (back.stdout, back.stderr.splitlines()[0]) == ("three again\n", f"Going on with {name}, 2 turns so far.")


def test_a_search_that_finds_much_says_so(tmp_path: Path) -> None:
    said = flow(tmp_path, *ECHO, typed="\n".join([*(f"rain {number}" for number in range(11)), "/search rain"]))
    *found, more, _ = said.stderr.splitlines()
    assert more == "There are more than these 20. Give another word."
    assert [line.partition(", ")[2] for line in found[:2]] == [
        f"turn 11, {one}: rain 10" for one in ("assistant", "user")
    ]
    assert len(found) == 20
    exactly = flow(tmp_path, *ECHO, "store.path=other.sqlite", typed="rain\n" * 10 + "/search rain\n")
    assert (len(exactly.stderr.splitlines()), "There are more" in exactly.stderr) == (21, False)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("-c", "nope"), 1, "vllm-flow: chat -c nope: nothing is said in it. `vllm-flow context ls` lists what there is.\n"),
        (("-c", "a", "b"), 2, "chat -c (command line): 2 conversations are named. Name one.\n"),
        (("-c",), 1, "vllm-flow: chat -c: no conversation is stored here yet. Start one with `vllm-flow chat`.\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_gone_on_with_is_said(tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    said = flow(tmp_path, *ECHO, *words, typed="hi\n")
    assert (said.returncode, said.stdout, said.stderr) == (code, "", told)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/nope", "/nope: there is no such command. Commands: audio, bad, bye, context, facts, forget, fork, good, help, image, remember, retry, save, search, set, title, undo."),
        ("/sett x 1", "/sett: there is no such command. Did you mean 'set'? Commands: audio, bad, bye, context, facts, forget, fork, good, help, image, remember, retry, save, search, set, title, undo."),
        ("/set", "/set: key or value is missing. Write, for example, /set sampling.temperature 0.3"),
        ("/set sampling.temperature hot", f"sampling.temperature (command line): 'hot' does not fit. It takes a number of 0 or more, or a schedule: {SCHEDULES}."),
        ("/undo", "/undo: there is nothing to take back."),
        ("/fork", "conversation 'NAME': it is not stored here. `vllm-flow context ls` lists what is."),
        ("/fork x", "/fork: 'x' is no number of a turn. Write, for example, /fork 3"),
        ("hi\n/fork 2", "conversation 'NAME': there is no turn 2. There is turn 1."),
        ("/title Rain", "conversation 'NAME': it is not stored here. `vllm-flow context ls` lists what is."),
        ("hi\n/title", "conversation 'NAME': the title has no word. Write one."),
        ("/search", "search '': there is no word in it. Write a word that was said."),
        ("/search rain", "No message has all of these words."),
        ("/retry", "/retry: there is no turn to answer again. Say something first."),
        ("/save", "/save: nothing has been said yet."),
        ("/good", "nothing has been answered yet. Say something first."),
        ("hi\n/save no/where", "/save: no/where cannot be written: No such file or directory. Choose another place."),
        ("hi\n/save ~nobody-here/x", "/save: ~nobody-here/x cannot be written: Could not determine home directory. Choose another place."),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_done_says_why_and_the_chat_goes_on(tmp_path: Path, line: str, words: str) -> None:
    said = flow(tmp_path, *ECHO, typed=f"{line}\nstill here\n")
    assert (said.returncode, said.stdout.removeprefix("hi\n")) == (0, "still here\n")
    name = said.stderr.split("Conversation ")[1].split(";")[0]
    assert said.stderr.splitlines()[0] == words.replace("NAME", name)


def test_the_context_shown_is_what_the_last_prompt_was_made_of(tmp_path: Path) -> None:
    words = [
        "graph.prompt.system=Be brief.",
        "graph.prompt.budget=12",
        "graph.prompt.shares={history: {overflow: oldest}}",
    ]
    said = flow(tmp_path, *ECHO, *words, typed="one two three\nfour five\n/context\nsix\n/context\n")
    assert (said.returncode, said.stdout) == (0, "one two three\nfour five\nsix\n")
    lines = said.stderr.splitlines()
    start = lines.index("The last prompt:")
    assert lines[start : start + 8] == [
        "The last prompt:",
        "segment   tokens  items",
        "system         2      1",
        "history        6      2",
        "question       2      1",
        "prompt        10         of 12",
        "",
        "4 messages, 10 tokens as a prompt",
    ]
    assert "(2 messages of history were left out of this prompt: the budget is 12)" in lines
    start = lines.index("The last prompt:", start + 1)
    assert lines[start + 3 : start + 7] == [
        "history        4      2",
        "question       1      1",
        "prompt         7         of 12",
        "left out: 2 messages of history, 6 tokens: the budget is 12",
    ]


def test_a_change_that_cannot_be_made_leaves_the_chat_as_it_was(tmp_path: Path) -> None:
    said = flow(tmp_path, *ECHO, typed="/set store.path .\nstill here\nand here\n/context\n")
    assert (said.returncode, said.stdout) == (0, "still here\nand here\n")
    assert said.stderr.splitlines()[0] == (
        f"store.path ({tmp_path}): it is a folder. Name a file, such as conversations.sqlite in it."
    )
    assert "4 messages" in said.stderr


def test_what_is_thought_of_an_answer_goes_with_the_next_turn(tmp_path: Path) -> None:
    said = flow(tmp_path, *ECHO, typed="one\n/bad\n/good\ntwo\n/retry\nthree\n/bad\n/bye\n")
    assert said.stdout == "one\ntwo\ntwo\nthree\n"
    assert said.stderr.splitlines()[0] == "Noted. It goes with what you say next."
    assert said.stderr.splitlines()[-2] == (
        "What you thought of the last answer was followed by nothing you said, and is not kept."
    )
    (file,) = tmp_path.glob("outputs/runs/*/*/results.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [row.get("feedback") for row in rows] == [None, 1.0, 1.0, None]


def test_a_line_that_cannot_be_read_costs_that_line(tmp_path: Path) -> None:
    for errors in ("strict", "surrogateescape"):
        surroundings = {**os.environ, "PYTHONIOENCODING": f"utf-8:{errors}"}
        said = subprocess.run(
            [*COMMAND, *ECHO],
            cwd=tmp_path,
            input=b"one\n\xff\xfe\ntwo\n",
            capture_output=True,
            check=False,
            env=surroundings,
        )
        assert (said.returncode, said.stdout) == (0, b"one\ntwo\n")
        assert said.stderr.splitlines()[0] == b"this line is not utf-8. Send it in that encoding."


def test_what_only_a_job_of_hydra_reads_is_refused(tmp_path: Path) -> None:
    said = flow(tmp_path, *ECHO, "hydra.run.dir=there", typed="hi\n")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        "hydra.run.dir (command line): a chat is no job of Hydra's, so nothing would read this. Leave it out; "
        "the record goes to outputs/runs of the folder in which the chat is started.\n"
    )


def test_another_answer_is_asked_with_the_history_that_came_with_the_turn(tmp_path: Path) -> None:
    history = (user("My name is Ann."), assistant("Hello Ann."))
    store = Sqlite(str(tmp_path / "kept.sqlite")).open()
    store.begin(Turn("a", user("Who am I?"), history, number=1))
    store.close()
    said = flow(tmp_path, *ECHO, "-c", typed="/retry\n/context\n")
    assert said.stderr.startswith("Going on with a, 1 turn so far.\n")
    assert (said.returncode, said.stdout) == (0, "Who am I?\n")
    assert "user  My name is Ann." in said.stderr


@POSIX
def test_ctrl_c_while_a_change_loads_leaves_the_chat_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*COMMAND, *ECHO, "plugins.slow=slow.py"], cwd=tmp_path, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"/set resources.engine.use=engine/slow\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"loading\n"
        process.send_signal(signal.SIGINT)
        said, told = process.communicate(b"still here\n", timeout=20)
    assert (process.returncode, said) == (0, b"still here\n")
    assert told.splitlines()[1] == b"(stopped)"


def test_going_on_with_nothing_is_one_line(tmp_path: Path) -> None:
    said = flow(tmp_path, *ECHO, "-c", typed="hi\n")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == ("vllm-flow: chat -c: no conversation is stored here yet. Start one with `vllm-flow chat`.\n")


def test_a_chat_leaves_the_record_of_a_run(tmp_path: Path) -> None:
    flow(tmp_path, *ECHO, typed="hello\n/set sampling.temperature 0.5\n")
    (folder,) = tmp_path.glob("outputs/runs/*/*-dialogue-chat-*")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert (run["status"], run["turns"]["answered"]) == ("finished", 1)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["change"] for event in events if event["event"] == "reconfigured"] == ["sampling.temperature=0.5"]


@POSIX
def test_ctrl_c_stops_the_answer_and_not_the_chat(tmp_path: Path) -> None:
    import pty

    words = ["chat", "model=custom", "sampling.max_tokens=1900", "sampling.min_tokens=1900", "store.path=kept.sqlite"]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [*COMMAND, *words])
    screen = b""

    def until(shown: Callable[[], bool]) -> None:
        nonlocal screen
        while not shown():
            assert select.select([terminal], [], [], 40.0)[0], screen
            screen += os.read(terminal, 4096)

    until(lambda: b"/bye leaves." in screen)
    until(lambda: b"you  " in screen)
    os.write(terminal, b"hello\n")
    until(lambda: b"hello\r\n" in screen)
    screen = b""
    until(lambda: len(screen) >= 20)  # the answer has begun
    os.write(terminal, b"\x03")
    until(lambda: b"(stopped; /retry answers again)" in screen)
    until(lambda: b"you  " in screen)
    screen = b""
    os.write(terminal, b"\x04")
    until(lambda: b"goes on with it." in screen)
    assert b"\n" in screen.partition(b"Conversation")[0]
    os.waitpid(child, 0)
    os.close(terminal)
    store = Sqlite(str(tmp_path / "kept.sqlite")).open()
    (turn,) = store.turns(store.last_conversation() or "")
    store.close()
    assert turn.reply is not None
    assert turn.reply.finish_reason == "interrupted"


def test_what_is_shown_in_a_chat_goes_with_what_is_said_next_and_is_kept(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), "red").save(tmp_path / "a cat.png")
    lines = [
        "/image",
        "/image nothing.png",
        "/audio a cat.png",
        "/image a cat.png",
        "what is it?",
        "/context",
        "/save c.jsonl",
        "/save c.jsonl",
        "/save d.jsonl",
        "/image a cat.png",
        "/image -",
        "/image -",
        "/image a cat.png",
        "and now?",
        "/undo",
    ]
    (tmp_path / "d.media").touch()
    said = flow(tmp_path, *ECHO, typed="\n".join([*lines, "/undo", "/image a cat.png"]))
    assert said.returncode == 0
    assert "/image: the file is missing. Write, for example, /image cat.png\n" in said.stderr
    assert "nothing.png: there is no such place." in said.stderr
    assert "a cat.png: it is an image. Write /image a cat.png\n" in said.stderr
    assert "[image a cat.png] goes with what you say next." in said.stderr
    assert "     user  [image a cat.png] what is it?" in said.stderr
    assert "[image a cat.png] is taken back.\n/image -: no image waits for what you say next" in said.stderr
    assert said.stderr.count("\na cat.png: read by the model itself\n") == 1
    assert "/save: c.jsonl exists. Choose another name.\n/save: d.media exists. Choose another name.\n" in said.stderr
    assert not (tmp_path / "d.jsonl").exists()
    assert "Taken back: [image a cat.png] what is it?" in said.stderr
    assert "[image a cat.png] was followed by nothing you said, and is not kept." in said.stderr
    (row,) = map(json.loads, (tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines())
    (part, _) = row["messages"][0]["parts"]
    assert (part["type"], (tmp_path / part["image"]).parent) == ("image", tmp_path / "c.media")
    (tmp_path / "c.jsonl").write_text(json.dumps({**row, "messages": row["messages"][:1]}), encoding="utf-8")
    assert flow(tmp_path, "engine=echo", "input.path=c.jsonl").returncode == 0
    (record,) = (tmp_path / "outputs" / "runs").glob("*/*-chat-*")
    (kept,) = (record / "media").iterdir()
    with Image.open(kept) as image:
        assert (image.size, image.getpixel((0, 0))) == ((4, 3), (255, 0, 0))
