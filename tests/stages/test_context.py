"""Context policies: what stays of a conversation, what the model makes of the rest, and what is said of both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests import fakes
from vllm_flow.core.errors import ConfigError, EngineError
from vllm_flow.core.messages import Message, assistant, by_question, system, user
from vllm_flow.core.segments import LeftOut, Share
from vllm_flow.core.values import Context, Finish, Request, Token, Turn, Usage
from vllm_flow.engines.echo import Echo
from vllm_flow.stages.context import Facts, Full, Sink, Story, Summary, Update, Window
from vllm_flow.stages.context.earlier import begun, exchanges
from vllm_flow.stages.context.notes import says
from vllm_flow.stages.context.summary import whole_sentences
from vllm_flow.stages.fuse import Chat
from vllm_flow.testing import EchoEngine, MemoryStore, completion, turn


class Scribe(EchoEngine):
    """Writes what it is given, a text an answer; an error is raised, and a text that ends in … was cut."""

    def __init__(self, *written: str | Exception) -> None:
        self.written = list(written)
        self.asked: list[Request] = []

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        self.asked.append(request)
        said = self.written.pop(0)
        if isinstance(said, Exception):
            raise said
        cut = said.endswith("…")
        yield Token(7, said.removesuffix("…"), finish=Finish("length" if cut else "stop", Usage(1, 1)))

    @property
    def read(self) -> list[str]:
        """The last message of each prompt."""
        return [request.prompt.messages[-1].text for request in self.asked]


def told(count: int, said: str = "q{}") -> MemoryStore:
    """A store with `count` answered turns."""
    store = MemoryStore()
    for number in range(1, count + 1):
        asked = turn(said.format(number), number=number)
        store.begin(asked)
        store.commit(asked, completion(f"a{number}"), {"count": number})
    return store


def texts(context: Context) -> list[str]:
    return [message.text for message in context.messages]


def items(context: Context) -> list[str]:
    return [item.text for segment in context.segments for item in segment.items]


def begin(policy: Any, store: MemoryStore, asked: Turn, engine: Any) -> Context:
    return asyncio.run(policy.run(asked, store, engine))


def go_on(policy: Any, store: MemoryStore, engine: Any, *said: str | Turn) -> Context:
    """Some turns more, each answered; the context of the last."""
    for one in said:
        number = store.next_number("test")
        asked = turn(one, number=number) if isinstance(one, str) else one
        made = begin(policy, store, asked, engine)
        Update().run(asked, completion(f"a{number}"), made, store)
    return made


@pytest.mark.parametrize(
    ("messages", "groups"),
    [
        ([], []),
        ([user("a")], [1]),
        ([assistant("hello"), user("a"), assistant("b")], [3]),
        ([system("rules"), user("a"), assistant("b"), user("c"), user("d"), assistant("e")], [3, 1, 2]),
        ([user("a"), assistant("b"), assistant("c"), user("d")], [3, 1]),
    ],
)
def test_messages_are_cut_before_every_question_but_the_first(messages: list[Message], groups: list[int]) -> None:
    assert list(map(len, by_question(messages))) == groups


@pytest.mark.parametrize(
    ("earlier", "kept"), [(3, 3), (4, 4), (5, 2), (6, 3), (7, 4), (8, 2), (9, 3), (10, 4), (11, 2)]
)
def test_a_window_that_moves_in_steps_begins_for_so_many_turns_as_it_did(earlier: int, kept: int) -> None:
    found = Window(turns=4, step=3).run(turn("now", number=earlier + 1), told(earlier))
    assert texts(found) == [f"{one}{n}" for n in range(earlier - kept + 1, earlier + 1) for one in "qa"]
    assert found.dropped == 2 * (earlier - kept)


def test_a_window_in_tokens_leaves_the_cutting_to_who_counts_them() -> None:
    found = Window(turns=None, tokens=100, step=2).run(turn("now", number=4), told(3))
    assert (found.dropped, found.share) == (0, Share(most=100, priority=-10, overflow="oldest", step=2))


def test_a_window_in_tokens_needs_an_engine_that_counts_them() -> None:
    problem = (
        "`tokens`: the engine cannot count the tokens of a prompt. Give `turns` alone, or choose another engine, such as "
        "engine=transformers."
    )
    assert list(Window(tokens=9).check(fakes.FakeOptions())) == [((), problem)]
    assert [*Window().check(fakes.FakeOptions()), *Window(tokens=9).check(Echo()), *Window(tokens=9).check()] == []


def test_no_question_is_kept_without_its_answer_and_rules_stay() -> None:
    history = [system("rules"), user("x"), assistant("y"), assistant("z"), user("u"), assistant("v")]
    found = Window(turns=1).run(turn("now", history=history), told(0))
    assert texts(found) == ["rules", "u", "v"]
    assert found.left_out == (LeftOut("history", "messages", 3, "older than the newest 1 turns"),)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"turns": None}, "neither turns nor tokens bound the window. Give one, or use context/full."),
        ({"turns": 4, "step": 5}, "5 is more than the 4 turns that are kept. Choose 4 or less."),
        ({"turns": 0, "step": 2}, "2 is more than the 0 turns that are kept. Choose 1 or less."),
        ({"turns": 4, "step": 4}, None),
        ({"turns": None, "tokens": 9, "step": 5}, None),
    ],
)
def test_a_window_without_bounds_or_with_a_step_too_far_is_refused(options: Any, problem: str | None) -> None:
    assert [one.problem for one in Window(**options).problems()] == ([problem] if problem else [])


@pytest.mark.parametrize(
    ("earlier", "kept", "dropped"),
    [(1, [1], 0), (3, [1, 2, 3], 0), (5, [1, 2, 4, 5], 2), (9, [1, 2, 8, 9], 10)],
)
def test_a_sink_keeps_the_first_turns_and_the_newest(earlier: int, kept: list[int], dropped: int) -> None:
    found = Sink(first=2, turns=2).run(turn("now", number=earlier + 1), told(earlier))
    assert (texts(found), found.dropped) == ([f"{one}{n}" for n in kept for one in "qa"], dropped)
    why = "neither among the first 2 turns nor among the newest 2"
    assert found.left_out == ((LeftOut("history", "messages", dropped, why),) if dropped else ())
    assert found.share == Share(priority=-10, overflow="oldest", first=min(2, earlier))


def test_what_gives_way_of_a_sink_is_what_is_newest_and_not_its_first_turns() -> None:
    history = [assistant("hello"), system("rules"), *(make(f"{n}") for n in range(4) for make in (user, assistant))]
    policy, asked = Sink(first=2, turns=2), turn("now", history=history)
    prompt = Chat(budget=8).run(asked, policy.run(asked, told(0)), engine=EchoEngine())
    assert [one.text for one in prompt.messages] == ["hello", "rules", "0", "0", "1", "1", "now"]


def test_a_summary_is_made_when_enough_has_left_the_window_and_goes_on_from_the_last() -> None:
    policy, store, scribe = Summary(turns=2, every=2), told(3), Scribe("First two.", "All four.")
    assert texts(go_on(policy, store, scribe, "q4")) == ["q1", "a1", "q2", "a2", "q3", "a3"]
    assert scribe.asked == []
    fifth = go_on(policy, store, scribe, "q5")
    assert (texts(fifth), items(fifth)) == (["q3", "a3", "q4", "a4"], ["First two."])
    assert "User: q1\nAssistant: a1\nUser: q2\nAssistant: a2" in scribe.read[0]
    assert store.state("test") == {"count": 3, "summary": {"text": "First two.", "through": [2, 0]}}
    assert texts(go_on(policy, store, scribe, "q6")) == ["q3", "a3", "q4", "a4", "q5", "a5"]
    seventh = go_on(policy, store, scribe, "q7")
    assert (texts(seventh), items(seventh), len(scribe.asked)) == (["q5", "a5", "q6", "a6"], ["All four."], 2)
    assert "Earlier, in short: First two.\nUser: q3" in scribe.read[1]
    assert "q1" not in scribe.read[1]
    why = "older than the newest 2 turns: read into the summary"
    assert seventh.left_out == (LeftOut("history", "messages", 8, why),)


def test_a_summary_is_asked_for_greedily_with_a_seed_of_its_own_for_each_block() -> None:
    scribe = Scribe("One.", "Two.")
    begin(Summary(turns=1, every=2, max_tokens=9), told(5), turn("q6", number=6), scribe)
    assert [(one.schedule.at(0).temperature, one.schedule.at(0).max_tokens) for one in scribe.asked] == [(0.0, 9)] * 2
    assert [one.sample for one in scribe.asked] == [0, 2]


def test_a_summary_that_was_cut_ends_with_its_last_sentence_and_says_so() -> None:
    store, scribe = told(2), Scribe("She is Ada. She lives in O…")
    found = begin(Summary(turns=1, every=1), store, turn("q3", number=3), scribe)
    assert items(found) == ["She is Ada."]
    cut = LeftOut("summary", "unfinished sentences", 1, "the model wrote more than 1 tokens")
    assert found.left_out == (
        LeftOut("history", "messages", 2, "older than the newest 1 turns: read into the summary"),
        cut,
    )


def test_a_summary_without_a_whole_sentence_ends_with_a_mark() -> None:
    found = begin(Summary(turns=1, every=1), told(2), turn("q3", number=3), Scribe("no end in sight…"))
    assert items(found) == ["no end in sight …"]


def test_a_model_that_writes_nothing_changes_nothing_and_that_is_said() -> None:
    policy, store = Summary(turns=1, every=1), told(2)
    found = go_on(policy, store, Scribe(" \n", "Ada.", ""), "q3")
    assert (texts(found), found.segments) == (["q2", "a2"], ())
    assert found.left_out[1] == LeftOut("summary", "updates", 1, "the model wrote nothing")
    assert items(go_on(policy, store, Scribe("Ada.", ""), "q4", "q5")) == ["Ada."]


def test_turns_that_could_not_be_summed_up_stay_as_they_were_said() -> None:
    policy, store = Summary(turns=1, every=2), told(3)
    found = begin(policy, store, turn("q4", number=4), Scribe(EngineError("the engine is gone. Start it.")))
    assert (texts(found), found.segments) == (["q1", "a1", "q2", "a2", "q3", "a3"], ())
    why = "it could not be brought up to date: the engine is gone. Start it."
    assert found.left_out == (LeftOut("summary", "updates", 1, why),)
    assert found.state == {"count": 3}


def test_a_summary_that_fails_again_and_again_costs_no_more_than_so_many_turns_and_is_made_up_for() -> None:
    policy, store, gone = Summary(turns=1, every=2), told(9), EngineError("gone")
    found = begin(policy, store, turn("q10", number=10), Scribe(gone))
    assert texts(found) == [f"{one}{n}" for n in range(5, 10) for one in "qa"]
    lost = LeftOut("history", "messages", 8, "older than the newest 5 turns, and not read into the summary")
    assert found.left_out[0] == lost
    half = begin(policy, store, turn("q10", number=10), Scribe("Two.", gone))
    assert (items(half), half.state["summary"]["through"]) == (["Two."], [2, 0])
    whole = begin(policy, store, turn("q10", number=10), scribe := Scribe("2.", "4.", "6.", "8."))
    assert (texts(whole), items(whole)) == (["q9", "a9"], ["8."])
    assert "q1" in scribe.read[0]


def test_a_history_that_came_with_the_turn_is_read_once() -> None:
    history = [system("rules"), *(make(f"{n}") for n in range(3) for make in (user, assistant))]
    policy, store, scribe = Summary(turns=1, every=2), told(0), Scribe("Two.")
    first = go_on(policy, store, scribe, turn("q1", history=history))
    assert (texts(first), items(first)) == (["rules", "2", "2"], ["Two."])
    assert "rules" not in scribe.read[0]
    assert store.state("test")["summary"]["through"] == [1, 1]
    assert texts(go_on(policy, store, scribe, "q2")) == ["rules", "2", "2", "q1", "a1"]


def test_a_turn_that_is_taken_back_takes_the_summary_back() -> None:
    policy, store, scribe = Summary(turns=1, every=1), told(1), Scribe("One.", "Two.", "Two again.")
    go_on(policy, store, scribe, "q2", "q3", "q4")
    assert store.state("test")["summary"]["text"] == "Two."
    store.undo("test")
    assert store.state("test")["summary"] == {"text": "One.", "through": [1, 0]}
    assert items(go_on(policy, store, scribe, "q4")) == ["Two again."]


def test_a_fork_has_the_summary_of_the_turn_that_it_goes_on_from() -> None:
    policy, store, scribe = Summary(turns=1, every=1), told(1), Scribe("One.", "Two.", "Another two.")
    go_on(policy, store, scribe, "q2", "q3", "q4")
    store.fork("test", "other", 3)
    assert store.state("other")["summary"] == {"text": "One.", "through": [1, 0]}
    found = begin(policy, store, turn("another q4", conversation="other", number=4), scribe)
    assert (items(found), store.state("test")["summary"]["text"]) == (["Another two."], "Two.")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("One. Two", "One."),
        ('He said "no." Then', 'He said "no."'),
        ("It costs 2.50 euros", ""),
        ("他住在北京。她", "他住在北京。"),
        ("Done!", "Done!"),
        ("", ""),
    ],
)
def test_a_sentence_ends_where_a_reader_sees_it_end(text: str, whole: str) -> None:
    assert whole_sentences(text) == whole


def test_facts_are_written_down_when_a_message_leaves_the_window_in_its_own_words() -> None:
    policy, store = Facts(turns=1, every=2), told(0)
    said = ["My locker code is 4821.", "Where is Lima?", "Thanks.", "And now?"]
    scribe = Scribe("locker code: 4821\ncolour: green", "The capital is Lima\nnone")
    found = go_on(policy, store, scribe, *said)
    assert (scribe.read, texts(found)) == (said[:2], ["Thanks.", "a3"])
    assert items(found) == ["locker code: 4821"]
    assert found.segments[0].left_out == (
        LeftOut("memory", "facts", 1, "not in the words of the message"),
        LeftOut("memory", "facts", 1, "not written as `key: value`"),
    )
    assert [one.sample for one in scribe.asked] == [0, 1]


def test_facts_may_be_asked_for_in_a_shape_and_are_believed_no_more_for_it() -> None:
    rows = [{"key": "city", "value": "Oslo"}, {"key": "colour", "value": "green"}]
    policy, store = Facts(turns=1, every=1, form="json"), told(0)
    scribe = Scribe(json.dumps({"facts": rows}), '{"facts": [{"key": "na…')
    found = go_on(policy, store, scribe, "I live in Oslo", "I am Ada", "Well", "Yes")
    assert (items(found), [one.shape.kind for one in scribe.asked if one.shape]) == (["city: Oslo"], ["schema"] * 2)
    assert found.segments[0].left_out == (
        LeftOut("memory", "facts", 1, "the model wrote more than `max_tokens` allows"),
    )


def test_an_engine_that_holds_no_answer_to_a_schema_is_refused_for_facts_in_json() -> None:
    problem = "the engine holds no answer to a schema. Set `form: lines`, or choose another engine."
    engine = fakes.FakeOptions(honours=("temperature", "max_tokens"))
    assert list(Facts(form="json").check(engine)) == [((), problem)]
    assert list(Facts().check(engine)) == []
    assert list(Facts().check(fakes.FakeOptions(honours=("top_p",)))) == [
        (
            (),
            "the engine cannot honour the schedule's 'temperature'. Remove it, or choose another engine; this one takes: top_p.",
        )
    ]


def test_the_newer_fact_of_a_name_stays_and_stands_last() -> None:
    scribe = Scribe("city: Oslo", "name: Ada", "City: Lima")
    policy, store = Facts(turns=1, every=1), told(0)
    found = go_on(
        policy,
        store,
        scribe,
        "I live in Oslo",
        "I am Ada",
        "I moved to Lima",
        "Well",
        "Yes",
    )
    assert items(found) == ["name: Ada", "City: Lima"]


def test_what_the_user_tells_is_remembered_at_once_and_what_is_forgotten_does_not_come_back() -> None:
    policy, store = Facts(turns=2, every=1), told(0)
    scribe = Scribe("city: Oslo", "pet: cat", "none", "none")
    found = go_on(policy, store, scribe, Turn("test", user("I live in Oslo"), number=1, remember={"city": "Bergen"}))
    assert items(found) == ["city: Bergen"]
    go_on(policy, store, scribe, "I have a cat", Turn("test", user("Hm"), number=3, remember={"pet": None}))
    assert items(go_on(policy, store, scribe, "So", "Yes")) == ["city: Bergen"]
    assert scribe.read == ["I live in Oslo", "I have a cat"]


def test_what_was_to_be_remembered_in_a_turn_that_failed_is_remembered_in_the_next() -> None:
    policy, store = Facts(), told(0)
    begin(policy, store, Turn("test", user("a"), number=1, remember={"city": "Bergen"}), Scribe())
    assert items(go_on(policy, store, Scribe(), turn("b", number=2))) == ["city: Bergen"]
    assert items(go_on(policy, store, Scribe(), "c")) == ["city: Bergen"]


def test_what_is_remembered_is_bounded_in_number_and_length() -> None:
    asked = Turn("test", user("a"), number=1, remember={"one": "1", "two": "2", "three": "3", "long": "x" * 20})
    found = begin(Facts(most=2, longest=12), told(0), asked, Scribe())
    assert items(found) == ["two: 2", "three: 3"]
    assert found.segments[0].left_out == (
        LeftOut("memory", "facts", 1, "more than 2: the oldest are forgotten"),
        LeftOut("memory", "facts", 1, "longer than 12 characters"),
    )


def test_a_sink_may_move_in_steps_as_a_window_does() -> None:
    found = [
        texts(Sink(first=1, turns=3, step=2).run(turn("now", number=count + 1), told(count))) for count in (4, 5, 6)
    ]
    assert [[int(text[1:]) for text in one[::2]] for one in found] == [[1, 2, 3, 4], [1, 4, 5], [1, 4, 5, 6]]
    problem = "4 is more than the 3 turns that are kept. Choose 3 or less."
    assert [one.problem for one in Sink(turns=3, step=4).problems()] == [problem]


def test_an_exchange_knows_whether_it_came_with_its_turn() -> None:
    store = told(0)
    go_on(Summary(), store, Scribe(), turn("q1", history=[user("x"), assistant("y"), user("q1"), assistant("z")]), "q2")
    store.begin(turn("failed", number=3, history=[user("u")]))
    asked = turn("q4", number=4, history=[user("v")])
    found = [(one.source, one.messages[0].text) for one in exchanges(asked, begun(asked, store))]
    assert found == [
        ("before turn 1", "x"), ("before turn 1", "q1"), ("turn 1", "q1"), ("turn 2", "q2"),
        ("before turn 3", "u"), ("before turn 4", "v"),
    ]  # fmt: skip


@pytest.mark.parametrize("policy", [Full(), Window(), Sink()])
def test_a_policy_without_facts_refuses_to_remember(policy: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        policy.run(Turn("test", user("a"), number=1, remember={"city": "Oslo"}), told(0))
    problem = "context: the turn wants city remembered, and this policy keeps no facts. Choose context=facts."
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("My code is 4821.", "4821", True),
        ("My code is 4821.", "82", False),
        ("I live in  New\nYork", "new york", True),
        ("我住在北京市", "北京", True),
        ("I like C++ best", "C++", True),
        ("Anything", "", False),
    ],
)
def test_a_phrase_is_in_a_text_word_for_word(text: str, phrase: str, found: bool) -> None:
    assert says(text, phrase) is found


def test_a_story_remembers_who_is_in_it_where_it_plays_and_what_has_happened() -> None:
    policy, store = Story(turns=1, every=2), told(0)
    scribe = Scribe(
        "character Rusty: a fox\nplace Alder: a forest\ncharacter Bob: a bear\nmood: dark", "Rusty left Alder.",
        "character Rusty: a fox with a key", "Rusty came home.",
    )  # fmt: skip
    found = go_on(policy, store, scribe, "Rusty wakes in Alder.", "He leaves.", "He walks.", "He finds a key.")
    assert items(found) == ["character Rusty: a fox", "place Alder: a forest", "plot: Rusty left Alder."]
    assert found.segments[0].left_out == (
        LeftOut("story", "entries", 1, "a name that is not in the story"),
        LeftOut("story", "entries", 1, "neither `character NAME` nor `place NAME`"),
    )
    assert [one.sample for one in scribe.asked] == [0, 1]
    later = go_on(policy, store, scribe, "Rusty sleeps.", "Night.")
    assert items(later) == ["place Alder: a forest", "character Rusty: a fox with a key", "plot: Rusty came home."]
    assert "Rusty left Alder.\nUser: He walks." in scribe.read[3]


def test_a_story_whose_plot_could_not_be_told_keeps_its_chapters_and_learns_no_names() -> None:
    scribe = Scribe("character Rusty: a fox", EngineError("gone"))
    found = go_on(Story(turns=1, every=1), told(0), scribe, "Rusty wakes.", "He leaves.", "He walks.")
    assert (texts(found)[0], found.segments, "story" in found.state) == ("Rusty wakes.", (), False)
    assert found.left_out[-1].why == "it could not be brought up to date: gone"
