"""When the file fails (no permission, locked, moved, damaged, full): nothing acknowledged is lost, the error helps."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import apsw
import pytest

from vllm_flow.core.errors import StoreError
from vllm_flow.core.messages import user
from vllm_flow.core.resources import StoredTurn
from vllm_flow.stores import Sqlite
from vllm_flow.testing.talk import answered, asked

posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def refusal(path: Path | str, **options: float) -> str:
    with pytest.raises(StoreError) as caught:
        Sqlite(str(path), **options).open()
    return str(caught.value)


def damage(path: Path, statement: str) -> None:
    """Change the file as no store would."""
    with closing(apsw.Connection(str(path))) as other:
        other.execute(statement)


def python(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False, **options)


@posix
def test_without_permission_the_file_is_refused(tmp_path):
    """As another user when we are root, whom no permission stops."""
    path = tmp_path / "c.sqlite"
    Sqlite(str(path)).open().close()
    code = """
import os, sys, tempfile, shutil
from vllm_flow.core.errors import StoreError
from vllm_flow.stores import Sqlite
folder = tempfile.mkdtemp()
shutil.copy(sys.argv[1], folder + "/c.sqlite")
os.chmod(folder + "/c.sqlite", 0o444)
os.mkdir(folder + "/closed", 0o555)
os.chmod(folder, 0o755)
child = os.fork()
if child:
    os.waitpid(child, 0)
    os.chmod(folder + "/closed", 0o755)
    shutil.rmtree(folder)
    sys.exit()
if os.geteuid() == 0:
    os.setuid(65534)
for name in ("c.sqlite", "closed/c.sqlite", "closed/deep/c.sqlite"):
    try:
        Sqlite(folder + "/" + name).open()
    except StoreError as error:
        print(str(error).replace(folder, "FOLDER"), flush=True)
os._exit(0)
"""
    ran = python(code, str(path))
    problem = "no permission to write it or its folder. Grant it, or name another file."
    assert ran.stdout.splitlines() == [
        f"store.path (FOLDER/{name}): {problem}" for name in ("c.sqlite", "closed/c.sqlite", "closed/deep/c.sqlite")
    ], ran.stderr


def test_a_file_locked_for_too_long_is_an_error_and_later_works(tmp_path):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path), wait_s=0.05).open()
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    said = f"store.path ({path}): locked by another process for over 0.05 s. End that process, or name another file."
    with pytest.raises(StoreError) as caught:
        store.begin(asked(1))
    assert str(caught.value) == said
    reader = Sqlite(str(path), wait_s=0.05).open()
    assert reader.turns("ann") == (), "reading waits for nobody"
    reader.close()
    other.execute("ROLLBACK")
    other.close()
    answered(store, 1, "first")
    store.close()


def test_a_file_locked_for_a_moment_is_waited_for(tmp_path):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path)).open()
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    timer.start()
    answered(store, 1, "first")
    timer.join()
    other.close()
    store.close()


def test_a_deleted_file_is_noticed_before_anything_is_lost_in_it(tmp_path):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path)).open()
    answered(store, 1, "first")
    path.rename(tmp_path / "moved.sqlite")
    said = f"store.path ({path}): the file was moved or deleted while in use. Start again."
    with pytest.raises(StoreError) as caught:
        store.begin(asked(2))
    assert str(caught.value) == said
    path.write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        store.undo("ann")
    assert str(caught.value) == said
    store.close()


def test_a_changed_value_is_noticed(tmp_path):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path)).open()
    answered(store, 1, "Is it raining?")
    damage(path, "UPDATE turns SET reply = replace(reply, 'yes', 'yet')")
    for read in (store.turns, store.state, store.undo):
        with pytest.raises(StoreError) as caught:
            read("ann")
        assert str(caught.value) == (
            f"store.path ({path}): conversation 'ann', turn 1 is damaged (its checksum does not match). "
            "Put back a copy."
        )
    store.close()


def test_a_changed_title_is_noticed_and_can_be_given_again(tmp_path):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path)).open()
    answered(store, 1, "Is it raining?")
    damage(path, "UPDATE conversations SET written_ms = written_ms - 1")
    said = (
        f"store.path ({path}): conversation 'ann': its title or time is damaged (the checksum does not match). "
        "Give it a title again, or put back a copy."
    )
    for read in (store.conversations, lambda: store.dump("ann"), lambda: store.delete("ann", datetime.now(UTC))):
        with pytest.raises(StoreError) as caught:
            read()
        assert str(caught.value) == said
    assert len(store.turns("ann")) == 1, "what was said can be read"
    store.set_title("ann", "Rain")
    answered(store, 2, "And now?")
    assert [(one.title, one.turns) for one in store.conversations()] == [("Rain", 2)]
    store.close()


def test_a_file_in_which_nothing_can_be_deleted_for_its_age_is_left_closed(tmp_path):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path)).open()
    answered(store, 1, "Is it raining?")
    store.close()
    damage(path, "UPDATE conversations SET written_ms = 0")
    with pytest.raises(StoreError, match="its title or time is damaged") as caught:
        Sqlite(str(path), keep_days=30).open()
    assert [one for one in apsw.connections() if one.filename == str(path)] == []
    assert caught.tb is not None, "it holds what was opened, as long as somebody looks at the error"


def test_what_was_taken_back_and_is_damaged_keeps_nobody_from_beginning_anew(tmp_path):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path)).open()
    answered(store, 1, "Is it raining?")
    store.undo("ann")
    damage(path, "UPDATE turns SET reply = replace(reply, 'yes', 'yet')")
    answered(store, 1, "Is it snowing?")
    store.undo("ann")
    damage(path, "UPDATE conversations SET title = 'Snow'")
    answered(store, 1, "Is it dry?")
    assert [(one.title, one.turns) for one in store.conversations()] == [("Is it dry?", 1)]
    store.close()


def test_a_bit_in_the_index_of_words_finds_nothing_wrong(tmp_path):
    store = Sqlite(str(tmp_path / "c.sqlite")).open()
    answered(store, 1, "Is it raining?")
    store._connection.execute("INSERT INTO words (rowid, text) VALUES (2, 'snowing'), (999, 'snowing')")
    assert store.search("snowing") == ()
    assert len(store.search("raining")) == 2
    store.close()


def what_ann_has(path: Path) -> tuple[tuple[StoredTurn, ...], object] | str:
    """Turns and state of the conversation, or the error."""
    try:
        store = Sqlite(str(path)).open()
        found = store.turns("ann"), store.state("ann")
        store.close()
    except StoreError as error:
        return str(error)
    return found


def test_a_damaged_file_raises_or_serves_what_was_stored(tmp_path):
    """One flipped bit, 200 times; two thirds fall where nothing is stored. A wrong text is what must never come."""
    original = tmp_path / "original.sqlite"
    store = Sqlite(str(original)).open()
    for number in range(1, 13):
        answered(store, number, f"question {number} " + "x" * 1200, n=number)
    kept, state = store.turns("ann"), store.state("ann")
    store.close()
    content, random, refused, fewer = original.read_bytes(), Random(3), 0, 0
    for trial in range(200):
        damaged = bytearray(content)
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
        path = tmp_path / f"{trial}.sqlite"
        path.write_bytes(damaged)
        found = what_ann_has(path)
        if isinstance(found, str):
            assert found.startswith(f"store.path ({path}): ")
            refused += 1
        elif found != (kept, state):
            assert set(found[0]) < set(kept)
            fewer += 1
    assert refused > 50
    assert fewer < 5, "only a bit in a key or a page's table can hide a row"


def test_a_full_database_keeps_what_was_acknowledged_and_goes_on_when_there_is_room(tmp_path):
    path = tmp_path / "c.sqlite"
    Sqlite(str(path)).open().close()
    store = Sqlite(str(path)).open()
    store._connection.execute("PRAGMA max_page_count=60").fetchall()
    acknowledged = 0

    def fill() -> None:
        nonlocal acknowledged
        while True:
            answered(store, acknowledged + 1, "x" * 3000)
            acknowledged += 1

    with pytest.raises(StoreError) as caught:
        fill()
    said = f"store.path ({path}): the disk is full; nothing was stored. Free some space, then send the turn again."
    assert str(caught.value) == said
    assert acknowledged > 10
    assert [stored.reply is not None for stored in store.turns("ann")][:acknowledged] == [True] * acknowledged
    with pytest.raises(StoreError) as caught:
        store.begin(asked(99, "x" * 12000))
    assert str(caught.value) == said
    store._connection.execute("PRAGMA max_page_count=1000").fetchall()
    answered(store, acknowledged + 1, "x" * 3000)
    store.close()
    reopened = Sqlite(str(path)).open()
    assert len(reopened.turns("ann")) == acknowledged + 1
    assert reopened.turns("ann")[-1].turn.message == user("x" * 3000)
    reopened.close()


@posix
def test_a_disk_that_takes_no_more_bytes_loses_nothing_acknowledged(tmp_path):
    path = tmp_path / "c.sqlite"
    code = """
import resource, sys
from vllm_flow.core.errors import StoreError
from vllm_flow.core.messages import user
from vllm_flow.core.values import Completion, Turn, Usage
from vllm_flow.stores import Sqlite
store = Sqlite(sys.argv[1]).open()
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
for number in range(1, 1000):
    turn = Turn("ann", user("x" * 30000), number=number)
    try:
        store.begin(turn)
        store.commit(turn, Completion("y" * 3000, (1,), "stop", Usage(1, 1)), {"n": number})
    except StoreError as error:
        print(error, flush=True)
        break
    print(number, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.begin(turn)
store.commit(turn, Completion("y" * 3000, (1,), "stop", Usage(1, 1)), {"n": number})
print(number, flush=True)
"""
    ran = python(code, str(path))
    lines = ran.stdout.splitlines()
    numbers, problem = [int(line) for line in lines if line.isdigit()], [one for one in lines if not one.isdigit()]
    assert ran.returncode == 0, ran.stderr
    assert problem == [
        f"store.path ({path}): reading or writing failed (disk I/O error). "
        "Look at the disk's health, free space and quota."
    ]
    store = Sqlite(str(path)).open()
    assert [stored.turn.number for stored in store.turns("ann") if stored.reply] == numbers
    assert len(numbers) > 5
    assert store.state("ann") == {"n": numbers[-1]}
    store.close()


FULL_DISK = """
import sys
from pathlib import Path
from vllm_flow.core.errors import StoreError
from vllm_flow.core.messages import user
from vllm_flow.core.values import Completion, Turn, Usage
from vllm_flow.stores import Sqlite

folder = Path(sys.argv[1])
(folder / "other").write_bytes(bytes(3_000_000))
store = Sqlite(str(folder / "c.sqlite")).open()
asked, answered, refused = {}, {}, []

def say(number):
    turn = Turn("ann", user(f"question {number} " + "x" * 30000), number=number)
    try:
        store.begin(turn)
        asked[number] = turn
        reply = Completion(f"answer {number} " + "y" * 30000, (1,), "stop", Usage(1, 1))
        store.commit(turn, reply, {"n": number})
        answered[number] = reply
    except StoreError as error:
        refused.append(str(error).replace(str(folder), "FOLDER"))

def check():
    kept = {one.turn.number: one for one in store.dump("ann").turns}
    assert {number: one.turn for number, one in kept.items()} == asked
    assert {number: one.reply for number, one in kept.items() if one.reply} == answered
    assert all(one.state == {"n": number} for number, one in kept.items() if one.reply)

for number in range(1, 1000):
    say(number)
    if len(refused) == 30:
        break
assert len(answered) > 20
check()
(folder / "other").unlink()
before = len(answered)
for number in range(number + 1, number + 11):
    say(number)
assert len(answered) == before + 10
check()
store.close()
store = Sqlite(str(folder / "c.sqlite")).open()
check()
assert len(store.search("question", 10**6)) == len(asked)
print(*sorted(set(refused)), sep="\\n")
"""


@posix
def test_a_disk_that_is_really_full_loses_nothing_acknowledged(tmp_path):
    """On a file system of 12 MB in memory, which only this process sees."""
    mount = f"mount -t tmpfs -o size=12m none {tmp_path}"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system gives nobody a file system of their own")
    script = tmp_path.parent / f"{tmp_path.name}.py"
    script.write_text(FULL_DISK, encoding="utf-8")
    command = ["unshare", "-rm", "sh", "-c", f"{mount} && exec {sys.executable} {script} {tmp_path}"]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    full = (
        "store.path (FOLDER/c.sqlite): the disk is full; nothing was stored. Free some space, then send the turn again."
    )
    assert ran.stdout.splitlines() == [full]
