"""Media of a conversation in words: by describers, each by itself, and fused in their place, with nothing dropped."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.pictures import KnowingReader, KnowingTagger, drawn, forgotten, sound
from vllm_flow.core.descriptions import Described, Descriptions
from vllm_flow.core.errors import SourceError
from vllm_flow.core.ledger import Entry
from vllm_flow.core.library import Library
from vllm_flow.core.messages import Message, Text, assistant, user
from vllm_flow.core.segments import Item, LeftOut
from vllm_flow.core.values import Context, Turn
from vllm_flow.engines.echo import EchoEngine
from vllm_flow.stages.describe import Ocr, Tags
from vllm_flow.stages.fuse import Chat
from vllm_flow.stages.fuse_media import Describe
from vllm_flow.stages.retrieve import Bm25
from vllm_flow.testing import check_stage

CAT, SIGN, TALK = drawn("red", "cat.png"), drawn("blue", "sign.png"), sound("talk.wav")
LOOK = Turn("a", Message("user", (CAT, Text("What is this?"))))
BEFORE = Context((Message("user", (SIGN, Text("And what does it say?"))), assistant("Open.")))
TAGGER = KnowingTagger(cat=[("tabby", 0.82), ("lynx", 0.126), ("tiger", 0.01)])
READER = KnowingReader(sign=[("OPEN", 0.99), ("9 to 5", 0.8), ("~|", 0.2)])


class Seeing(EchoEngine):
    """A model that reads pictures itself."""

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "media": ["image"]}


def test_tags_are_told_down_to_a_probability_and_up_to_a_number() -> None:
    assert check_stage(Tags(), turn=LOOK, tagger=TAGGER) == Descriptions(
        "seen", {CAT.digest: "tabby (82 %), lynx (13 %)"}
    )
    assert check_stage(Tags(most=1), turn=LOOK, tagger=TAGGER).texts == {CAT.digest: "tabby (82 %)"}
    assert check_stage(Tags(above=0.9), turn=LOOK, tagger=TAGGER).texts == {CAT.digest: ""}


def test_lines_are_told_down_to_a_confidence_and_how_many_are_below() -> None:
    found = check_stage(Ocr(), turn=LOOK, context=BEFORE, reader=READER)
    told = "OPEN\n9 to 5\n[1 line too unclear to be read]"
    assert found == Descriptions("read", {SIGN.digest: told, CAT.digest: ""})
    assert check_stage(Ocr(above=0.9), turn=LOOK, context=BEFORE, reader=READER).texts[SIGN.digest] == (
        "OPEN\n[2 lines too unclear to be read]"
    )


def test_without_its_describer_a_stage_says_nothing_and_what_the_model_reads_itself_is_not_described() -> None:
    assert check_stage(Tags(), turn=LOOK) == Descriptions("seen", {})
    assert check_stage(Ocr(), turn=LOOK) == Descriptions("read", {})
    tagger = KnowingTagger()
    assert check_stage(Tags(), turn=LOOK, tagger=tagger, engine=Seeing()) == Descriptions("seen", {})
    assert tagger.asked == []


def test_what_came_with_the_turn_is_described_where_nothing_is_remembered() -> None:
    brought = replace(LOOK, history=BEFORE.messages)
    assert set(check_stage(Tags(), turn=brought, tagger=TAGGER).texts) == {CAT.digest, SIGN.digest}


def test_a_picture_whose_content_is_gone_is_no_reason_to_fail() -> None:
    lost = replace(LOOK, message=Message("user", (forgotten(CAT),)))
    found = check_stage(Tags(), turn=lost, tagger=TAGGER)
    assert found == Descriptions("seen", {}, {CAT.digest: "its content is not here any more"})
    fused = check_stage(Describe(), turn=lost, seen=found)
    assert fused.lines == {CAT.digest: ("[this picture could not be described]",)}
    assert fused.left_out == (LeftOut("media", "pictures", 1, "cat.png: its content is not here any more"),)


def test_what_describers_say_is_put_together_medium_by_medium() -> None:
    seen = Descriptions("seen", {CAT.digest: "tabby (82 %)", SIGN.digest: ""})
    read = Descriptions("read", {SIGN.digest: "OPEN\n9 to 5"})
    fused = check_stage(Describe(), turn=LOOK, context=BEFORE, seen=seen, read=read)
    assert fused == Described(
        {SIGN.digest: ("seen: nothing for certain", "read: OPEN\n9 to 5"), CAT.digest: ("seen: tabby (82 %)",)}
    )


def test_what_nobody_describes_is_told_to_the_model_and_to_the_user() -> None:
    heard = replace(LOOK, message=Message("user", (TALK, Text("What do they say?"))))
    fused = check_stage(Describe(), turn=heard)
    prompt = check_stage(Chat(), turn=heard, context=Context(), described=fused)
    assert prompt.messages[0].text == (
        "<recording>\n[talk.wav]\n[this recording could not be described]\n</recording>\nWhat do they say?"
    )
    assert prompt.ledger.left_out == (
        LeftOut("media", "recordings", 1, "talk.wav: nothing here describes a recording"),
    )


@pytest.mark.parametrize(
    ("medium", "problem"),
    [
        (
            CAT,
            "cat.png: nothing here describes a picture. Choose reader=rapidocr for what is written in it, tagger=imagenet "
            "for what it shows, or a model that reads it itself.",
        ),
        (
            replace(TALK, source=""),
            "a recording without a name: nothing here describes a recording. Choose transcriber=whisper for what is said "
            "in it, or a model that reads it itself.",
        ),
    ],
    ids=["picture", "recording"],
)
def test_where_everything_depends_on_it_what_nobody_describes_is_an_error(medium: Any, problem: str) -> None:
    asked = replace(LOOK, message=Message("user", (medium,)))
    with pytest.raises(SourceError) as failure:
        Describe(undescribed="error").run(asked)
    assert str(failure.value) == problem
    earlier = Context((asked.message, assistant("Nice.")))
    assert (
        Describe(undescribed="error")
        .run(replace(LOOK, message=Message("user", (Text("Hm."),))), context=earlier)
        .left_out
    )


def test_where_one_describer_fails_the_others_are_told_and_that_it_failed() -> None:
    seen = Descriptions("seen", {CAT.digest: "tabby (82 %)"})
    read = Descriptions("read", {}, {CAT.digest: "tesseract gave up"})
    fused = check_stage(Describe(undescribed="error"), turn=LOOK, seen=seen, read=read)
    assert fused.lines == {CAT.digest: ("seen: tabby (82 %)", "read: [this failed]")}
    assert fused.left_out == (LeftOut("media", "descriptions", 1, "cat.png: read: tesseract gave up"),)
    with pytest.raises(SourceError, match=r"^cat\.png: tesseract gave up\. Show it again\.$"):
        Describe(undescribed="error").run(LOOK, read=read)


def test_what_the_model_reads_itself_stays_as_it_is() -> None:
    both = replace(LOOK, message=Message("user", (CAT, TALK)))
    fused = check_stage(Describe(), turn=both, engine=Seeing())
    assert set(fused.lines) == {TALK.digest}
    assert fused.told((both.message,))[0].parts[0] is CAT


def test_of_what_the_model_reads_itself_only_the_newest_is_shown() -> None:
    fused = check_stage(Describe(undescribed="error", images=1), turn=LOOK, context=BEFORE, engine=Seeing())
    assert fused.lines == {SIGN.digest: ("[this picture is not shown any more]",)}
    assert fused.left_out == (LeftOut("media", "pictures", 1, "sign.png: only the newest picture is shown"),)
    assert check_stage(Describe(images=2), turn=LOOK, context=BEFORE, engine=Seeing()).lines == {}


def test_what_the_model_would_read_itself_and_is_gone_is_told_of() -> None:
    before = Context((Message("user", (forgotten(SIGN),)), assistant("Open.")))
    fused = check_stage(Describe(undescribed="error"), turn=LOOK, context=before, engine=Seeing())
    assert fused.lines == {SIGN.digest: ("[this picture could not be described]",)}
    assert fused.left_out == (LeftOut("media", "pictures", 1, "sign.png: its content is not here any more"),)
    again = replace(LOOK, message=Message("user", (SIGN,)))
    assert check_stage(Describe(), turn=again, context=before, engine=Seeing()).lines == {}


def test_a_long_description_is_cut_and_that_is_said_to_both() -> None:
    read = Descriptions("read", {CAT.digest: "All that is written here"})
    fused = check_stage(Describe(most=8), turn=LOOK, read=read)
    assert fused.lines == {CAT.digest: ("read: All that [… 16 characters left out]",)}
    assert fused.left_out == (LeftOut("media", "characters", 16, "cat.png: `most` is 8"),)


@pytest.mark.parametrize("share", ["question", "history"])
def test_a_description_that_is_cut_stays_in_its_fence_and_goes_before_what_the_user_wrote(share: str) -> None:
    engine, described = EchoEngine(), Described({CAT.digest: (f"read: {' '.join(map(str, range(100)))}",)})
    later = (replace(LOOK, message=user("And now?")), Context((LOOK.message, assistant("A cat."))))
    turn, context = (LOOK, Context()) if share == "question" else later
    for budget in range(40, 100, 3):
        chat = Chat(budget=budget, shares={share: {"overflow": "cut"}})
        prompt = check_stage(chat, turn=turn, context=context, engine=engine, described=described)
        assert engine.count(prompt) <= budget
        text = prompt.messages[0].text
        found = re.fullmatch(
            r"<picture>\n\[cat.png\]\nread: [\d ]+ \[… (\d+) tokens left out\]\n</picture>\nWhat is this\?", text
        )
        assert found, text
        (gone,) = [one.tokens for one in prompt.ledger.left_out]
        assert gone == int(found[1]) == 100 - len(text[: found.start(1)].split("read: ")[1].split()[:-1])
        assert [one.sources for one in prompt.ledger.entries if one.segment == "media"] == [("cat.png (read)",)]


def test_the_ledger_counts_what_stands_in_the_place_of_media_wherever_it_stands() -> None:
    seen = Descriptions("seen", {CAT.digest: "tabby", SIGN.digest: "sign"})
    fused = check_stage(Describe(), turn=LOOK, context=BEFORE, seen=seen)
    engine = EchoEngine()
    prompt = check_stage(Chat(budget=500), turn=LOOK, context=BEFORE, engine=engine, described=fused)
    assert prompt.messages[0].text.startswith("<picture>\n[sign.png]\nseen: sign\n</picture>\nAnd what")
    entries = {one.segment: one for one in prompt.ledger.entries}
    assert list(entries) == ["history", "media", "question"]
    assert entries["media"].items == 2
    assert entries["media"].sources == ("sign.png (seen)", "cat.png (seen)")
    assert prompt.ledger.tokens == engine.count(prompt)
    bare = check_stage(
        Chat(budget=500),
        turn=replace(LOOK, message=Message("user", (Text("What is this?"),))),
        engine=engine,
        context=Context(),
    )
    assert entries["question"].tokens == next(one.tokens for one in bare.ledger.entries if one.segment == "question")
    assert entries["media"].tokens is not None
    assert entries["media"].tokens > 0


def test_media_that_the_model_reads_itself_have_an_entry_of_their_own_too() -> None:
    prompt = check_stage(Chat(), turn=LOOK, context=Context())
    assert prompt.messages == (LOOK.message,)
    assert prompt.ledger.entries == (Entry("media", None, 1, ("cat.png",)), Entry("question"))


def test_what_is_read_in_a_picture_is_looked_up_too() -> None:
    library = Library.of((Item("An astrolabe shows the sky.", "a.md:1"), Item("A water clock drips.", "b.md:1")))
    asked = replace(LOOK, message=Message("user", (CAT, Text("Explain."))))
    words = Described({CAT.digest: ("read: Water clock, room 2",)})
    found = check_stage(Bm25(passages=1), turn=asked, library=library, described=words)
    assert [one.source for one in found.items] == ["1: b.md:1"]
    assert check_stage(Bm25(passages=1), turn=asked, library=library).items == ()
