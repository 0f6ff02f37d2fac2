"""Registries: which classes may take a name, and what is said of those that may not. Each test has its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from vllm_flow.core.errors import FlowError
from vllm_flow.core.registry import Entry, Registry

HERE = __file__
FORMS = "`role/manner` or `package:role/manner`, where no role is called pipeline"
NO_NAMES = ["", "a", "a/", "/b", "a/b/c", "a b/c", "a/b ", "a/b\n", ":a/b", "x:y:a/b", "a.b/c", "pipeline/mine"]


class Runs:
    """No dataclass."""

    def run(self) -> None: ...


@dataclass(frozen=True)
class Sound(Runs):
    """Does nothing, well.

    At length.
    """


@dataclass(frozen=True, slots=True)
class Other:
    """Does nothing else."""

    async def run(self) -> None: ...


@dataclass
class Thawed(Runs):
    """A dataclass whose fields can be set."""


@dataclass(frozen=True)
class Field:
    """Has a field of that name, which cannot be called."""

    run: int = 3


@dataclass(frozen=True)
class Silent(Runs):
    pass


@dataclass(frozen=True)
class Inherits(Sound):
    pass


@dataclass(frozen=True)
class Blank(Runs):
    """ """


@pytest.fixture
def stage() -> Registry:
    return Registry("stage", "run")


def refusal(register: Callable[[], object]) -> str:
    with pytest.raises(FlowError) as caught:
        register()
    return str(caught.value)


def test_a_registered_class_stays_as_it_is_and_is_found_by_its_name(stage: Registry) -> None:
    assert stage("do/nothing", blocking=True)(Sound) is Sound
    known = Entry("do/nothing", Sound, blocking=True, shared=False)
    assert (stage.find("do/nothing"), stage.find("do/other"), list(stage)) == (known, None, [known])


def test_a_summary_is_the_first_line_and_a_place_names_file_and_class() -> None:
    entry = Entry("do/nothing", Sound)
    assert (entry.summary, entry.place) == ("Does nothing, well.", f"{HERE}: Sound")


def test_a_name_says_role_and_manner_may_say_a_package_and_is_listed_in_order(stage: Registry) -> None:
    names = ["a/b", "acme.tools-2:a/b", "acme:a/b", "my-role/my_manner", "pipelines/x", "rôle/2"]
    for name in reversed(names):
        stage(name)(Sound)
    assert [entry.name for entry in stage] == names


@pytest.mark.parametrize("name", NO_NAMES)
def test_another_name_is_refused(stage: Registry, name: str) -> None:
    assert refusal(lambda: stage(name)(Sound)) == (
        f"stage '{name}' ({HERE}: Sound): the name cannot be used. Take one of the form {FORMS}."
    )


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Runs, "not a frozen dataclass. Put @dataclass(frozen=True) below the registration."),
        (Thawed, "not a frozen dataclass. Put @dataclass(frozen=True) below the registration."),
        (Field, "there is no method 'run', which every stage has. Write it."),
        (Silent, "it has no docstring. Its first line is what `vllm-flow ls` shows."),
        (Inherits, "it has no docstring. Its first line is what `vllm-flow ls` shows."),
        (Blank, "it has no docstring. Its first line is what `vllm-flow ls` shows."),
    ],
)
def test_a_class_that_is_no_stage_is_refused(stage: Registry, cls: type, words: str) -> None:
    assert refusal(lambda: stage("do/nothing")(cls)) == f"stage 'do/nothing' ({HERE}: {cls.__qualname__}): {words}"


def test_an_async_run_and_a_thread_exclude_each_other(stage: Registry) -> None:
    assert refusal(lambda: stage("do/other", blocking=True)(Other)) == (
        f"stage 'do/other' ({HERE}: Other): its 'run' is async and cannot run in a thread. Drop async or blocking."
    )


def test_each_registry_asks_for_its_own_method() -> None:
    assert refusal(lambda: Registry("resource", "open")("do/nothing")(Sound)) == (
        f"resource 'do/nothing' ({HERE}: Sound): there is no method 'open', which every resource has. Write it."
    )


def test_a_name_belongs_to_the_first_class(stage: Registry) -> None:
    stage("do/nothing")(Sound)
    assert refusal(lambda: stage("do/nothing")(Other)) == (
        f"stage 'do/nothing' ({HERE}: Other): the name is taken by {HERE}: Sound. Choose another name."
    )
    assert list(stage) == [Entry("do/nothing", Sound)]


def test_a_module_that_is_executed_again_may_register_again(stage: Registry) -> None:
    stage("do/nothing")(Sound)
    stage("do/nothing", blocking=True)(Sound)
    assert list(stage) == [Entry("do/nothing", Sound, blocking=True)]


def test_an_unknown_name_is_answered_with_the_nearest_and_with_all(stage: Registry) -> None:
    assert stage.unknown("do/nothing") == "there is no stage 'do/nothing'. There are: none."
    stage("do/nothing")(Sound)
    stage("ask/other")(Other)
    assert stage.unknown("do/nothin") == (
        "there is no stage 'do/nothin'. Did you mean 'do/nothing'? There are: ask/other, do/nothing."
    )
