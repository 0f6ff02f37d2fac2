"""Images and sounds in stores and exports: kept once, for as long as a turn shows them."""

from __future__ import annotations

import dataclasses
import os
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from vllm_flow.core.errors import StoreError
from vllm_flow.core.media import Image
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.values import Turn
from vllm_flow.media import Files, image_from
from vllm_flow.stores import Sqlite
from vllm_flow.stores.kept_json import kept_of, line_of
from vllm_flow.stores.memory import MemoryStore
from vllm_flow.testing.media import picture
from vllm_flow.testing.talk import YES

READ_SO_FAR = Path("/proc/self/io")
CAT = Image("a" * 64, 3, 2, "cat.png", b"the cat")
DOG = Image("b" * 64, 3, 2, "dog.png", b"the dog")


def show(store: MemoryStore, conversation: str, number: int, *images: Image) -> None:
    turn = Turn(conversation, Message("user", (*images, Text("What is it?"))), number=number)
    store.begin(turn)
    store.commit(turn, YES, {})


def bytes_read() -> int:
    """By this process, since it began."""
    return int(READ_SO_FAR.read_text().split()[1])


def kept_in(path: Path) -> list[bytes]:
    with closing(apsw.Connection(str(path))) as connection:
        return [bytes(data) for (data,) in connection.execute("SELECT data FROM media ORDER BY digest")]


def test_what_several_turns_show_is_kept_once_and_goes_with_the_last_of_them(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with closing(Sqlite(str(path)).open()) as store:
        show(store, "ann", 1, CAT)
        show(store, "ann", 2, CAT, DOG)
        show(store, "bob", 1, CAT)
        store.fork("ann", "eve")
        assert kept_in(path) == [b"the cat", b"the dog"]
        store.delete("ann")
        assert kept_in(path) == [b"the cat", b"the dog"]
        assert [one.data for one in store.turns("eve")[1].turn.message.media] == [b"the cat", b"the dog"]
        store.delete("eve")
        assert kept_in(path) == [b"the cat"]
        store.delete("bob")
        assert kept_in(path) == []


def test_one_that_was_taken_back_is_kept_with_its_turn(tmp_path: Path) -> None:
    with closing(Sqlite(str(tmp_path / "c.sqlite")).open()) as store:
        show(store, "ann", 1, CAT)
        message = store.undo("ann")
        assert message is not None
        assert [one.data for one in message.media] == [b"the cat"]
        assert store.taken_back("ann")[0].turn.message.media[0].data == b"the cat"


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with closing(Sqlite(str(path)).open()) as store:
        show(store, "ann", 1, CAT)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE media SET data = ?", (b"the bat",))
    with closing(Sqlite(str(path)).open()) as store, pytest.raises(StoreError) as caught:
        store.turns("ann")
    assert str(caught.value) == (
        f"store.path ({path}): the image 'cat.png' is damaged (its checksum does not match). Put back a copy."
    )


@pytest.mark.parametrize("number", [1, 2], ids=["in the same turn", "in another"])
def test_what_is_damaged_is_written_anew_when_it_is_shown_again_and_what_is_whole_stays(
    tmp_path: Path, number: int
) -> None:
    path = tmp_path / "c.sqlite"
    with closing(Sqlite(str(path)).open()) as store, closing(apsw.Connection(str(path))) as other:
        show(store, "ann", 1, CAT)
        other.execute("UPDATE media SET data = ?", (b"the bat",))
        show(store, "ann", number, CAT)
        assert [one.data for one in store.turns("ann")[0].turn.message.media] == [b"the cat"]
        show(store, "bob", 1, dataclasses.replace(CAT, data=b"the rat"))
        assert kept_in(path) == [b"the cat"]


def test_an_answer_is_kept_and_a_conversation_deleted_whole_though_a_picture_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    turn = Turn("ann", Message("user", (CAT, Text("A secret?"))), number=1)
    with closing(Sqlite(str(path)).open()) as store, closing(apsw.Connection(str(path))) as other:
        store.begin(turn)
        other.execute("UPDATE media SET data = ?", (b"the bat",))
        store.commit(turn, YES, {"n": 1})
        assert store.state("ann") == {"n": 1}
        assert other.execute("SELECT count(*) FROM words WHERE words MATCH 'secret'").get == 1
        assert store.delete("ann")
        assert other.execute("SELECT count(*) FROM words WHERE words MATCH 'secret'").get == 0


@pytest.mark.skipif(not os.access(READ_SO_FAR, os.R_OK), reason="only Linux tells how much was read")
def test_the_way_to_a_picture_leads_past_no_other(tmp_path: Path) -> None:
    path, digests, size = tmp_path / "c.sqlite", [f"{number:064x}" for number in range(20)], 100_000
    with closing(Sqlite(str(path)).open()) as store:
        show(store, "ann", 1, *(Image(digest, 3, 2, data=b"a" * size) for digest in digests))
    read = []
    with closing(apsw.Connection(str(path))) as connection:
        for digest in digests:
            before = bytes_read()
            connection.execute("SELECT data FROM media WHERE digest = ?", (digest,)).fetchall()
            read.append(bytes_read() - before)
    assert size <= max(read) < 1.5 * size


def test_a_conversation_is_exported_and_imported_with_what_it_shows(tmp_path: Path) -> None:
    store, gate = MemoryStore(), Files().open()
    red, blue = (image_from(picture(8, 8, text), f"{text}.png") for text in ("a", "b"))
    show(store, "ann", 1, red)
    show(store, "ann", 2, red, blue)
    line = line_of(store.dump("ann"))
    content = b64encode(red.data or b"").decode()
    assert line.count(content) == 1
    with closing(Sqlite(str(tmp_path / "c.sqlite")).open()) as other:
        assert other.load(kept_of(line, gate))
        assert [one.data for one in other.turns("ann")[1].turn.message.media] == [red.data, blue.data]
        assert other.conversations()[0].title == "[image a.png] What is it?"
        assert not other.load(kept_of(line, gate))
    without = kept_of(line[: line.index(',"media":')] + "}", gate)
    assert [one.data for one in without.turns[1].turn.message.media] == [None, None], "a line need not have the content"
    as_it_was = "Take the line as it was exported."
    for there, instead, problem in (
        (content, content[:-1], f"media.{red.digest}: it is no base64. {as_it_was}"),
        (content, "ü", f"media.{red.digest}: it is no base64. {as_it_was}"),
        (content, b64encode(blue.data or b"").decode(), f"media.{red.digest}: it is not what its name says. {as_it_was}"),
        ('"width":8', '"width":9', f"media.{red.digest}: it is not what turns.0 shows. {as_it_was}"),
        (content, b64encode(b"GIF89a").decode(), f"media.{red.digest}: it is neither an image (PNG, JPEG, WEBP) nor a sound (WAV, FLAC, OGG, MP3). Convert it to one of these."),
        (line[line.index('"media":') :], '"media":[]}', "media: a list is no mapping. Give the content by digest, as base64."),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"\.") as caught:
            kept_of(line.replace(there, instead), gate)
        assert str(caught.value) == problem
    with pytest.raises(ValueError, match="max_pixels") as caught:
        kept_of(line, Files(max_pixels=63).open())
    assert str(caught.value) == (
        f"media.{red.digest}: it has 8 × 8 pixels, and at most 63 are read. Make it smaller, or raise max_pixels."
    )


def test_what_a_turn_only_names_it_shows_as_soon_as_anybody_has_shown_it() -> None:
    with closing(MemoryStore()) as store:
        named = dataclasses.replace(CAT, data=None)
        show(store, "ann", 1, named)
        show(store, "ann", 2, named)
        assert store.undo("ann")
        assert [one.data for one in store.turns("ann")[0].turn.message.media] == [None]
        show(store, "bob", 1, CAT)
        assert [one.data for one in store.turns("ann")[0].turn.message.media] == [b"the cat"]
        assert [one.data for one in store.taken_back("ann")[0].turn.message.media] == [b"the cat"]
        show(store, "eve", 1, named)
        assert [one.data for one in store.turns("eve")[0].turn.message.media] == [b"the cat"]
        for name in ("ann", "bob", "eve"):
            store.delete(name)
        show(store, "ann", 1, named)
        assert [one.data for one in store.turns("ann")[0].turn.message.media] == [None]
