"""`vllm-flow context`: what each verb prints, keeps and refuses, on a file that a chat would have written."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from tests.pictures import drawn
from vllm_flow.cli import main
from vllm_flow.cli.context import HELP, VERBS
from vllm_flow.core.archive import Kept, KeptTurn
from vllm_flow.core.messages import assistant, system, user
from vllm_flow.core.values import Completion, Turn, Usage
from vllm_flow.stores import Sqlite, SqliteStore
from vllm_flow.testing.talk import CUT, asked

FILE = "outputs/conversations.sqlite"
Said = Callable[..., tuple[int, str, str]]


def talk(name: str, *texts: str, written: datetime, title: str) -> Kept:
    turns = []
    for number, text in enumerate(texts, 1):
        turn = Turn(name, user(text), number=number)
        turns.append(KeptTurn(turn, Completion(f"{text} Yes.", (1,), "stop", Usage(1, 1)), {"n": number}))
    return Kept(name, title, written, tuple(turns))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    store = Sqlite().open()
    store.load(talk("ann", "Is it raining?", "明天北京天气怎么样?", written=datetime.now(UTC), title="Rain"))
    store.load(talk("bob", "Hello\nthere.", written=datetime.now(UTC) - timedelta(days=40), title="Old"))
    yield store
    store.close()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return main(["context", *words]), *capsys.readouterr()

    return run


def day(days: int = 0) -> str:
    return f"{(datetime.now(UTC) - timedelta(days=days)).astimezone():%Y-%m-%d}"


def test_ls_lists_the_one_written_last_first(store: SqliteStore, said: Said) -> None:
    code, out, err = said("ls")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [[name, turns, when[:10], title] for name, turns, when, title in rows] == [
        ["bob", "1", day(40), "Old"],
        ["ann", "2", day(), "Rain"],
    ]
    (bob, ann) = json.loads(said("ls", "--json")[1])
    assert (bob["name"], ann["turns"], ann["title"]) == ("bob", 2, "Rain")
    assert datetime.fromisoformat(ann["written"]).tzinfo is not None


def test_show_prints_what_was_said_and_with_all_what_was_taken_back(store: SqliteStore, said: Said) -> None:
    store.begin(Turn("bob", user("and \x1b[31mnow?"), (system("Be brief."), assistant("I am.")), 2))
    store.interrupt(Turn("bob", user("and \x1b[31mnow?"), (system("Be brief."), assistant("I am.")), 2), CUT)
    store.begin(asked(3, "gone", "bob"))
    store.undo("bob")
    store.begin(asked(3, "kept", "bob"))
    code, out, _ = said("show", "bob")
    text = """
   1 user      Hello
               there.
     assistant Hello
               there. Yes.

   2 system    Be brief.
     assistant I am.
     user      and [31mnow?
     assistant Well, I (interrupted)

   3 user      kept
               (not answered)
"""
    assert (code, out.partition("\n")[0][:24], out.partition("\n")[2]) == (0, "Old (bob), last written ", text)
    back = "\nTaken back:\n\n   3 user      gone\n               (not answered)\n"
    assert said("show", "bob", "--all")[1] == out + back
    data = json.loads(said("show", "bob", "--all", "--json")[1])
    assert [one["turn"]["number"] for one in data["turns"]] == [1, 2, 3]
    assert [one["turn"]["message"]["content"] for one in data["taken_back"]] == ["gone"]
    assert not {"taken_back", "media"} & set(json.loads(said("show", "bob", "--json")[1]))
    cat = drawn("red", "cat.png", size=(3, 2))
    store.begin(Turn("cat", user("Well?", cat), number=1))
    (media,) = json.loads(said("show", "cat", "--json")[1])["media"]
    assert media == {
        "type": "image", "digest": cat.digest, "width": 3, "height": 2, "source": "cat.png", "bytes": len(cat.data or b"")
    }  # fmt: skip


def test_search_finds_words_and_shows_where(store: SqliteStore, said: Said) -> None:
    assert said("search", "RAIN", "it") == (
        0,
        "ann\t1\tassistant\tIs it raining? Yes.\nann\t1\tuser\tIs it raining?\n",
        "",
    )
    assert (
        said("search", "北京")[1] == "ann\t2\tassistant\t明天北京天气怎么样? Yes.\nann\t2\tuser\t明天北京天气怎么样?\n"
    )
    assert said("search", "hello there")[1].count("\n") == 2, "one word with a space is a phrase"
    assert said("search", "there hello") == (1, "", "")
    assert said("search", "rain", "hello") == (1, "", "")
    (first, _) = json.loads(said("search", "rain", "--json")[1])
    assert first == {
        "conversation": "ann",
        "number": 1,
        "message": {"role": "assistant", "content": "Is it raining? Yes."},
    }
    assert said("search", "?!") == (
        1,
        "",
        "vllm-flow: search '?!': there is no word in it. Write a word that was said.\n",
    )


def test_a_search_that_finds_much_says_so(store: SqliteStore, said: Said) -> None:
    for number in range(2, 62):
        store.begin(asked(number, f"{'x ' * 40}needle {number}{' y' * 40}", "bob"))
    code, out, err = said("search", "needle")
    assert (code, err) == (0, "There are more than these 50. Give another word.\n")
    assert len(out.splitlines()) == 50
    assert out.splitlines()[0] == "bob\t61\tuser\t…x x x x x x x x x x needle 61 y y y y y y y y y y y y y y y …"


def test_title_and_fork_change_what_is_listed(store: SqliteStore, said: Said) -> None:
    assert said("title", "ann", "Rain", "in", "Paris") == (0, "", "")
    assert said("title", "bob", "--", "a=b", "--json") == (0, "", "")
    assert [one.title for one in store.conversations()] == ["a=b --json", "Rain in Paris"]
    told = "half: a copy of ann. `vllm-flow chat -c half` goes on with it.\n"
    assert said("fork", "ann", "half", "1") == (0, told, "")
    assert [one.turn.text for one in store.turns("half")] == ["Is it raining?"]
    assert store.state("half") == {"n": 1}
    assert said("fork", "ann", "whole")[0] == 0
    assert (len(store.turns("whole")), store.state("whole")) == (2, {"n": 2})


def test_what_was_exported_is_imported_as_it_was(store: SqliteStore, said: Said, tmp_path: Path) -> None:
    kept = {name: store.dump(name) for name in ("ann", "bob")}
    assert said("export", "all.jsonl") == (0, "", "Exported 2 conversations.\n")
    assert said("export", "bob.jsonl", "bob") == (0, "", "Exported 1 conversation.\n")
    lines = (tmp_path / "all.jsonl").read_text(encoding="ascii").splitlines()
    assert [json.loads(line)["conversation"] for line in lines] == ["ann", "bob"], "the one written last comes last"
    assert said("export", "-", "bob")[1] == (tmp_path / "bob.jsonl").read_text(encoding="ascii")
    assert said("import", "all.jsonl", "store.path=new/file.sqlite") == (0, "", "Imported 2 conversations.\n")
    other = Sqlite("new/file.sqlite").open()
    assert {name: other.dump(name) for name in ("ann", "bob")} == kept
    assert other.last_conversation() == "bob"
    other.close()
    again = "Imported 0 conversations; 2 were there already.\n"
    assert said("import", "all.jsonl", "store.path=new/file.sqlite") == (0, "", again)
    assert said("export", "again.jsonl", "store.path=new/file.sqlite")[0] == 0
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "all.jsonl").read_bytes()


def test_a_line_that_cannot_be_imported_costs_that_line(
    store: SqliteStore, said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said("export", "all.jsonl")[0] == 0
    ann, bob = (tmp_path / "all.jsonl").read_text(encoding="ascii").splitlines()
    store.delete("bob")
    store.begin(asked(3, "and now?"))
    (tmp_path / "mixed.jsonl").write_text(
        "\n".join(
            [ann, "", '{"conversation": 3}', bob.replace('"number":1', '"number":0'), bob.replace("+00:00", ""), bob]
        )
    )
    code, out, err = said("import", "mixed.jsonl")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "Imported 1 conversation.",
        "mixed.jsonl:1: conversation 'ann': another one has this name. Choose another, or delete that one.",
        "mixed.jsonl:3: conversation: 'title' is missing. Add it.",
        "mixed.jsonl:4: turns.0.turn.number: 0 does not fit. Give a whole number of 1 or more, below 2**63.",
        f"mixed.jsonl:5: written: '{json.loads(bob)['written'][:-6]}' is no moment. Write one such as 2026-01-31T12:00:00+00:00.",
    ]
    assert store.turns("bob")[0].turn.text == "Hello\nthere."
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{bob}\n".encode())))
    assert said("import", "-") == (0, "", "Imported 0 conversations; 1 was there already.\n")
    (tmp_path / "latin.jsonl").write_bytes("é".encode("latin-1"))
    told = "vllm-flow: latin.jsonl: it is not UTF-8. Give a file that `vllm-flow context export` wrote.\n"
    assert said("import", "latin.jsonl") == (1, "", told)


def test_what_is_damaged_does_not_keep_the_rest_from_being_exported(
    store: SqliteStore, said: Said, tmp_path: Path
) -> None:
    with closing(apsw.Connection(FILE)) as other:
        other.execute("UPDATE turns SET reply = replace(reply, 'raining', 'snowing') WHERE conversation = 'ann'")
    code, out, err = said("export", "-")
    assert (code, [json.loads(line)["conversation"] for line in out.splitlines()]) == (1, ["bob"])
    assert err.splitlines() == [
        "Exported 1 conversation.",
        f"store.path ({tmp_path / FILE}): conversation 'ann', turn 1 is damaged (its checksum does not match). Put back a copy.",
    ]
    assert said("delete", "ann") == (0, "", "Deleted ann.\n"), "what is damaged can be deleted"


def test_a_damaged_title_is_given_again_and_keeps_no_other_conversation_from_being_looked_after(
    store: SqliteStore, said: Said, tmp_path: Path
) -> None:
    kept = store.dump("bob")
    with closing(apsw.Connection(FILE)) as other:
        other.execute("UPDATE conversations SET title = 'Snow' WHERE name = 'ann'")
    damaged = (
        f"store.path ({tmp_path / FILE}): conversation 'ann': its title or time is damaged (the checksum does not "
        "match). Give it a title again, or put back a copy."
    )
    assert said("ls") == (1, "", f"vllm-flow: {damaged}\n")
    assert said("export", "some.jsonl", "ann", "bob") == (1, "", f"Exported 1 conversation.\n{damaged}\n")
    assert json.loads((tmp_path / "some.jsonl").read_text(encoding="ascii"))["title"] == kept.title
    strange = "conversation 'bo': it is not stored here"
    assert said("title", "bo", "x") == (1, "", f"vllm-flow: {strange}. `vllm-flow context ls` lists what is.\n")
    assert said("delete", "bob", "bo") == (1, "", f"Deleted bob.\n{strange}, so nothing was deleted.\n")
    assert said("title", "ann", "Rain") == (0, "", "")
    assert [(one.name, one.title) for one in store.conversations()] == [("ann", "Rain")]


def test_delete_is_for_good_and_names_what_is_not_there_first(store: SqliteStore, said: Said, tmp_path: Path) -> None:
    told = (
        "vllm-flow: conversation 'anne': it is not stored here. Did you mean 'ann'?\n"
        "conversation 'x': it is not stored here.\n`vllm-flow context ls` lists what is.\n"
    )
    assert said("delete", "bob", "anne", "x") == (1, "", told)
    assert len(store.conversations()) == 2
    assert said("delete", "ann", "bob") == (0, "", "Deleted ann.\nDeleted bob.\n")
    assert store.conversations() == ()


def test_prune_deletes_what_is_older_than_keep_days_and_may_say_so_beforehand(store: SqliteStore, said: Said) -> None:
    null = "store.keep_days: it is null, so everything is kept. Give a number of days, such as store.keep_days=90.\n"
    assert said("prune") == (2, "", null)
    said_of = "in which nothing was said for {} days.\n"
    code, out, err = said("prune", "--dry-run", "store.keep_days=30")
    assert (code, out.split("\t")[0], err) == (0, "bob", "1 conversation would be deleted, " + said_of.format(30))
    assert said("ls", "store.keep_days=30")[1].count("\n") == 2, "looking deletes nothing"
    assert said("prune", "store.keep_days=41")[1:] == ("", "0 conversations deleted, " + said_of.format(41))
    assert said("prune", "store.keep_days=39.5")[2] == "1 conversation deleted, " + said_of.format(39.5)
    assert [one.name for one in store.conversations()] == ["ann"]
    assert said("prune", "store.keep_days=1")[2] == "0 conversations deleted, in which nothing was said for 1 day.\n"
    assert said("prune", "store.keep_days=1e300")[2] == "0 conversations deleted, " + said_of.format("1e+300")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("lst",), 2, "context lst: there is no such verb. Did you mean 'ls'? There are: delete, export, fork, import, ls, prune, search, show, title."),
        (("show",), 2, "context show: 0 words stand behind it. Write: vllm-flow context show NAME"),
        (("ls", "x"), 2, "context ls: 1 word stands behind it. Write: vllm-flow context ls"),
        (("show", "ann", "--dry-run"), 2, "context show: --dry-run means nothing to it. It is for: prune."),
        (("ls", "--jsn"), 2, "--jsn (command line): there is no such flag. Did you mean '--json'? Flags: --all, --dry-run, --help, --json, -h."),
        (("show", "nobody"), 1, "vllm-flow: conversation 'nobody': it is not stored here.\n`vllm-flow context ls` lists what is."),
        (("title", "ann", "  "), 1, "vllm-flow: conversation 'ann': the title has no word. Write one."),
        (("fork", "ann", "new", "x"), 2, "context fork: 'x' is no number of a turn. Write one, such as 3."),
        (("fork", "ann", "new", "7"), 1, "vllm-flow: conversation 'ann': there is no turn 7. There are turns 1 to 2."),
        (("fork", "bob", "new", "7"), 1, "vllm-flow: conversation 'bob': there is no turn 7. There is turn 1."),
        (("fork", "ann", "bob"), 1, "vllm-flow: conversation 'bob': another one has this name. Choose another, or delete that one."),
        (("export", "."), 1, "vllm-flow: .: it exists. Choose another name."),
        (("export", "~nobody-here/x"), 1, "vllm-flow: ~nobody-here/x: Could not determine home directory. Write the folder out."),
        (("import", "nowhere.jsonl"), 1, "vllm-flow: nowhere.jsonl: No such file or directory. Give a file that `vllm-flow context export` wrote."),
        (("ls", "store=memory"), 1, "vllm-flow: store: it ends with its process, so nothing is kept in it. Choose store=sqlite."),
        (("ls", "store.keep_days=0"), 2, "resources.store.keep_days (command line): 0 does not fit. It takes a number above 0, or null."),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(
    store: SqliteStore, said: Said, words: tuple[str, ...], code: int, told: str
) -> None:
    assert said(*words) == (code, "", f"{told}\n")


def test_a_file_that_is_not_there_is_not_made_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["ls"], ["export", "all.jsonl"], ["delete", "x"]):
        assert said(*words)[2] == (
            f"vllm-flow: {tmp_path / FILE}: no conversation is kept there yet. "
            "Talk with `vllm-flow chat`, or name the file with store.path=FILE.\n"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_no_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.py").write_text(
        '''
from dataclasses import dataclass
from vllm_flow.core.registry import resource
from vllm_flow.stores.memory import MemoryStore

class PlainStore(MemoryStore):
    search = None
    def __getattribute__(self, name):
        if name == "search":
            raise AttributeError(name)
        return super().__getattribute__(name)

@resource("store/plain")
@dataclass(frozen=True)
class Plain:
    """Keeps turns, and lists nothing."""

    def open(self) -> PlainStore:
        return PlainStore()
''',
        encoding="utf-8",
    )
    told = "vllm-flow: store: a PlainStore cannot list its conversations. Choose an Archive, such as store=sqlite.\n"
    words = ("ls", "plugins.plain=plain.py", "store=memory", "resources.store.use=store/plain")
    assert said(*words) == (1, "", told)


def test_every_verb_stands_in_the_help_which_imports_nothing_heavy(tmp_path: Path) -> None:
    assert [verb for verb in VERBS if f"vllm-flow context {verb}" not in HELP] == []
    code = (
        "import sys; from vllm_flow.cli import main; main(['context', '--help']);"
        "print(sorted({'torch', 'hydra', 'apsw', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{HELP}[]\n"
