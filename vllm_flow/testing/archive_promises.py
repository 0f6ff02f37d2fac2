"""What a store promises that is an Archive, too: lists, titles, search, branches, what was taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from vllm_flow.core.archive import Archive
from vllm_flow.core.errors import StoreError
from vllm_flow.core.messages import user
from vllm_flow.core.resources import StoredTurn
from vllm_flow.testing.compare import refused, require, same
from vllm_flow.testing.moving_promises import MOVING_PROMISES
from vllm_flow.testing.talk import CUT, answered, asked

ARCHIVE_PROMISES: list[Callable[[Archive], None]] = []


def promise(check: Callable[[Archive], None]) -> Callable[[Archive], None]:
    ARCHIVE_PROMISES.append(check)
    return check


def found(store: Archive, text: str, limit: int = 20) -> list[tuple[str, int, str, str]]:
    return [(one.conversation, one.number, one.message.role, one.message.text) for one in store.search(text, limit)]


@promise
def conversations_are_listed_the_one_written_last_first(store: Archive) -> None:
    same("conversations", store.conversations(), ())
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    answered(store, 1, "first")
    answered(store, 1, "hello", conversation="bob")
    answered(store, 2, "second")
    store.begin(asked(2, conversation="bob"))
    listed = store.conversations()
    same("names", [one.name for one in listed], ["bob", "ann"])
    same("numbers of turns", [one.turns for one in listed], [2, 2])
    after = datetime.now(UTC) + timedelta(milliseconds=1)
    for one in listed:
        require(before <= one.written <= after, f"{one.name} was written at {one.written}. It was now, in UTC.")


@promise
def a_conversation_of_which_all_was_taken_back_is_listed_with_none(store: Archive) -> None:
    answered(store, 1, "first")
    store.undo("ann")
    same("name and turns", [(one.name, one.turns) for one in store.conversations()], [("ann", 0)])


@promise
def a_conversation_is_called_by_its_beginning_until_it_is_titled(store: Archive) -> None:
    answered(store, 1, "Is it\n  raining?")
    answered(store, 2, "And now?")
    same("title", [one.title for one in store.conversations()], ["Is it raining?"])
    store.set_title("ann", "Rain,\n or 雨")
    answered(store, 3, "And now?")
    same("title that was given", [one.title for one in store.conversations()], ["Rain, or 雨"])
    same("numbers of turns", [one.turns for one in store.conversations()], [3])


@promise
def a_title_outlives_all_turns_and_a_beginning_does_not(store: Archive) -> None:
    answered(store, 1, "first")
    store.undo("ann")
    answered(store, 1, "second")
    same("title of what began anew", [one.title for one in store.conversations()], ["second"])
    store.set_title("ann", "Rain")
    store.undo("ann")
    answered(store, 1, "third")
    same("title that was given", [one.title for one in store.conversations()], ["Rain"])


@promise
def a_title_needs_a_word_and_a_conversation(store: Archive) -> None:
    answered(store, 1, "first")
    with refused("a title without a word", StoreError):
        store.set_title("ann", " \n")
    with refused("a title of what is not there", StoreError):
        store.set_title("bob", "Rain")
    same("conversations", [(one.name, one.title) for one in store.conversations()], [("ann", "first")])


@promise
def search_finds_every_word_in_one_message(store: Archive) -> None:
    answered(store, 1, "Will the Café be open, or is it RAINING?")
    answered(store, 2, "open it")
    for text in ("raining", "RAIN", "cafe open", "it is", "Cafe\u0301", '"is it"'):
        same(f"search {text!r}", found(store, text)[-1:], [found(store, "will")[-1]])
    for text in ("aining", '"it is"', '"rain"', "cafe snow", "will second"):
        same(f"search {text!r}", found(store, text), [])
    same("search of a reply", found(store, "open yes")[0], ("ann", 2, "assistant", "open it: yes"))
    with refused("search without a word", StoreError):
        store.search("?! ")


@promise
def search_finds_chinese_anywhere(store: Archive) -> None:
    answered(store, 1, "明天北京天气怎么样?")
    same("search of two characters", [one[2] for one in found(store, "北京")], ["assistant", "user"])
    same("search of one", [one[2] for one in found(store, "气")], ["assistant", "user"])
    same("search of two that stand apart", found(store, "北天"), [])


@promise
def search_gives_the_newest_first_and_no_more_than_its_limit(store: Archive) -> None:
    for number in (1, 2):
        store.begin(asked(number, f"rain {number}"))
        store.begin(asked(number, f"rain {number}", "bob"))
    newest = [("bob", 2), ("ann", 2), ("bob", 1), ("ann", 1)]
    same("search", [one[:2] for one in found(store, "rain")], newest)
    same("search of at most three", [one[:2] for one in found(store, "rain", 3)], newest[:3])


@promise
def search_finds_the_reply_that_stands(store: Archive) -> None:
    store.begin(asked(1, "hello"))
    store.interrupt(asked(1, "hello"), CUT)
    same("search of what was cut off", len(found(store, "well")), 1)
    answered(store, 1, "hello")
    same("search of what was replaced", found(store, "well"), [])
    same("search of what replaced it", len(found(store, "yes")), 1)


@promise
def what_was_taken_back_is_not_found(store: Archive) -> None:
    answered(store, 1, "raining")
    answered(store, 2, "snowing")
    store.undo("ann")
    same("search", found(store, "snowing"), [])
    same("search of the turn before", len(found(store, "raining")), 2)


@promise
def what_was_taken_back_is_kept(store: Archive) -> None:
    answered(store, 1, "first", n=1)
    second = answered(store, 2, "second", n=2)
    store.begin(asked(3, "third"))
    reply = store.turns("ann")[1].reply
    for _ in range(2):
        store.undo("ann")
    same("taken_back", store.taken_back("ann"), (StoredTurn(second, reply), StoredTurn(asked(3, "third"), None)))
    answered(store, 2, "second, in other words")
    same("number of those taken back", len(store.taken_back("ann")), 2)
    same("turns", [one.turn.message for one in store.turns("ann")], [user("first"), user("second, in other words")])
    with refused("what was taken back of nothing", StoreError):
        store.taken_back("bob")


@promise
def a_fork_has_the_turns_up_to_its_number_with_their_state(store: Archive) -> None:
    for number, text in enumerate(("first", "second", "third"), 1):
        answered(store, number, text, n=number)
    store.begin(asked(4, "fourth"))
    store.set_title("ann", "Rain")
    store.fork("ann", "half", 2)
    store.fork("ann", "whole")
    texts = [one.turn.text for one in store.turns("ann")]
    same("turns of the half", [one.turn.text for one in store.turns("half")], texts[:2])
    same("turns of the whole", [one.turn.text for one in store.turns("whole")], texts)
    same("conversations of the turns", {one.turn.conversation for one in store.turns("half")}, {"half"})
    same("replies", [one.reply for one in store.turns("half")], [one.reply for one in store.turns("ann")][:2])
    same("state of the half", store.state("half"), {"n": 2})
    same("state of the whole", store.state("whole"), {"n": 3})
    same("next_number of the half", store.next_number("half"), 3)
    same("titles", {one.title for one in store.conversations()}, {"Rain"})
    same("names", sorted(one.name for one in store.conversations()), ["ann", "half", "whole"])


@promise
def a_fork_and_where_it_comes_from_go_on_by_themselves(store: Archive) -> None:
    answered(store, 1, "first", n=1)
    answered(store, 2, "second", n=2)
    store.fork("ann", "bob")
    same("undo in the fork", store.undo("bob"), user("second"))
    same("state of the fork after its undo", store.state("bob"), {"n": 1})
    same("state where it comes from", store.state("ann"), {"n": 2})
    answered(store, 2, "another second", conversation="bob")
    same("turns where it comes from", [one.turn.text for one in store.turns("ann")], ["first", "second"])
    same("turns of the fork", [one.turn.text for one in store.turns("bob")], ["first", "another second"])


@promise
def a_fork_from_nothing_or_onto_another_is_refused(store: Archive) -> None:
    answered(store, 1, "first")
    answered(store, 1, "hello", conversation="bob")
    with refused("a fork of what is not there", StoreError):
        store.fork("cleo", "dan")
    with refused("a fork at a turn that is not there", StoreError):
        store.fork("ann", "dan", 2)
    with refused("a fork onto another", StoreError):
        store.fork("ann", "bob")
    same("names", sorted(one.name for one in store.conversations()), ["ann", "bob"])


ARCHIVE_PROMISES.extend(MOVING_PROMISES)
