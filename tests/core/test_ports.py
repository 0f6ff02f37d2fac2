"""Ports: what the signature of `run` says, which types it may use, and what may be wired to what."""

from __future__ import annotations

import types
from typing import Any, Optional, Protocol, TypeVar, Union, runtime_checkable

import pytest

from vllm_flow.core.ports import Port, Ports, element, fits, many, optional, ports_of, type_name

KNOWN = "A port is Class, Class | None, tuple[Class, ...] or a runtime_checkable Protocol of methods"
T = TypeVar("T")


class Animal: ...


class Stone: ...


class Dog(Animal):
    def bark(self, times: int) -> str: ...  # type: ignore[empty-body]


@runtime_checkable
class Barks(Protocol):
    def bark(self, times: int) -> str: ...


@runtime_checkable
class BarksAndRuns(Barks, Protocol):
    def go(self) -> None: ...


@runtime_checkable
class Coloured(Protocol):
    colour: str


class Unchecked(Protocol):
    def bark(self) -> str: ...


class Sound:
    """Every port type there is."""

    def run(self, dog: Dog, maybe: Dog | None, pack: tuple[Dog, ...], by: Barks, *, few: tuple[Dog | None, ...] = ()) -> Animal: ...  # type: ignore[empty-body]  # fmt: skip

    def stay(self, dog: Optional[Dog] = None) -> None: ...  # noqa: UP045  the older spelling is read too

    def no_return(self, dog: Dog): ...  # type: ignore[no-untyped-def]

    def no_type(self, dog) -> None: ...  # type: ignore[no-untyped-def]

    def unnamed(self, dog: Dog, /) -> None: ...

    def several(self, *dogs: Dog) -> None: ...


def test_a_signature_is_read_with_its_defaults_and_keyword_only_parameters() -> None:
    assert ports_of(Sound) == Ports(
        {
            "dog": Port(Dog),
            "maybe": Port(Dog | None),
            "pack": Port(tuple[Dog, ...]),
            "by": Port(Barks),
            "few": Port(tuple[Dog | None, ...], required=False),
        },
        Animal,
    )


def test_any_method_can_be_read_and_one_without_a_value_gives_the_type_of_none() -> None:
    assert ports_of(Sound, "stay") == Ports({"dog": Port(Dog | None, required=False)}, types.NoneType)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("no_return", "the return value has no type. Annotate every parameter of no_return and its return"),
        ("no_type", "'dog' has no type. Annotate every parameter of no_type and its return"),
        ("unnamed", "'dog: 'Dog'' is no port: it takes no value by its name. Write each parameter of unnamed out"),
        ("several", "'*dogs: 'Dog'' is no port: it takes no value by its name. Write each parameter of several out"),
    ],
)
def test_a_signature_that_says_too_little_is_refused(method: str, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        ports_of(Sound, method)
    assert str(caught.value) == words


@pytest.mark.parametrize("hint", [Dog, Dog | None, Union[Dog, None], tuple[Dog, ...], Barks, tuple[Barks | None, ...]])  # noqa: UP007
@pytest.mark.parametrize("place", ["dog", "return"])
def test_a_port_type_is_taken_on_either_side(place: str, hint: Any) -> None:
    ports = ports_of(with_hint(place, hint))
    assert (ports.output if place == "return" else ports.inputs["dog"].type) == hint


@pytest.mark.parametrize(
    "shown",
    ["Dog | Stone", "Dog | Stone | None", "tuple[Dog | Stone, ...]", "Coloured", "Unchecked", "Unchecked | None", "T"],
)
@pytest.mark.parametrize(("place", "what"), [("dog", "'dog'"), ("return", "the return value")])
def test_a_fancier_type_is_refused(place: str, what: str, shown: str) -> None:
    with pytest.raises(TypeError) as caught:
        ports_of(with_hint(place, shown))
    assert str(caught.value) == f"{what} has the type {shown}. {KNOWN}"


def with_hint(place: str, hint: Any) -> type:
    def run(self: Any, dog: Any) -> Any: ...

    run.__annotations__ = {"dog": Dog, "return": Dog} | {place: hint}
    return type("Own", (), {"run": run})


FITS = [
    (Dog, Dog), (Dog, Animal), (Dog, Dog | None), (Dog | None, Animal | None), (types.NoneType, Dog | None),
    (tuple[Dog, ...], tuple[Animal, ...]), (tuple[Dog, ...], tuple[Dog | None, ...]),
    (tuple[Dog, ...], tuple[Dog, ...] | None), (tuple[tuple[Dog, ...], ...], tuple[tuple[Animal, ...], ...]),
    (Dog, Barks), (Dog | None, Barks | None), (tuple[Dog, ...], tuple[Barks, ...]), (BarksAndRuns, Barks),
    (Any, Dog), (Stone, Any), (Any, tuple[Dog, ...]), (tuple[Any, ...], tuple[Dog, ...]),
]  # fmt: skip
DO_NOT_FIT = [
    (Animal, Dog), (Stone, Animal), (Dog | None, Dog), (types.NoneType, Dog), (Dog | None, Stone | None),
    (tuple[Animal, ...], tuple[Dog, ...]), (tuple[Dog | None, ...], tuple[Dog, ...]), (tuple[Dog, ...], Dog),
    (Dog, tuple[Dog, ...]), (tuple[Dog, ...] | None, tuple[Dog, ...]),
    (Animal, Barks), (Barks, Dog), (Barks, BarksAndRuns), (Dog | None, Barks), (int, float),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted", "fit"), [(*p, True) for p in FITS] + [(*p, False) for p in DO_NOT_FIT])
def test_a_value_goes_where_each_of_its_types_is_asked_for(given: Any, wanted: Any, fit: bool) -> None:
    assert fits(given, wanted) is fit


def test_types_are_made_into_tuples_and_options_and_taken_apart() -> None:
    assert (many(Dog), many(Any)) == (tuple[Dog, ...], tuple[Any, ...])
    assert (optional(Dog), optional(Dog | None), optional(None.__class__)) == (Dog | None, Dog | None, types.NoneType)
    assert (optional(Any), element(Any), element(tuple[Dog, ...]), element(Dog)) == (Any, Any, Dog, None)


@pytest.mark.parametrize(
    "text", ["Dog", "None", "Any", "Dog | None", "tuple[Dog, ...]", "tuple[tuple[Dog | None, ...], ...]", "Barks"]
)
def test_a_type_is_shown_as_a_reader_would_write_it(text: str) -> None:
    hint = eval(text, globals())
    assert type_name(types.NoneType if hint is None else hint) == text
