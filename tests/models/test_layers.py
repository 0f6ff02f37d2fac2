"""Which layers run: what can be written, and what is said about the rest."""

from __future__ import annotations

import pytest

from vllm_flow.models.layers import check_layers, parse_layers, written_layers
from vllm_flow.models.spec import Architecture, Model

RIGHT = "Write numbers from 0 and ranges such as 0-11,20-29."


@pytest.mark.parametrize(
    ("text", "layers", "written"),
    [
        ("0-3", (0, 1, 2, 3), "0-3"),
        ("0-2,7-8", (0, 1, 2, 7, 8), "0-2,7-8"),
        ("5", (5,), "5"),
        ("3,0,1", (3, 0, 1), "3,0-1"),
        ("0-1,1,1-2", (0, 1, 1, 1, 2), "0-1,1,1-2"),
        (" 0 - 1 , 4 ", (0, 1, 4), "0-1,4"),
        ("0,1,2", (0, 1, 2), "0-2"),
    ],
)
def test_layers_are_read_in_the_order_written_and_written_shortly(
    text: str, layers: tuple[int, ...], written: str
) -> None:
    assert parse_layers(text) == layers
    assert written_layers(layers) == written
    assert parse_layers(written) == layers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", f"it names no layer. {RIGHT}"),
        ("  ", f"it names no layer. {RIGHT}"),
        ("0-", f"'0-' in it is no layer and no range of layers. {RIGHT}"),
        ("0,,2", f"'' in it is no layer and no range of layers. {RIGHT}"),
        ("-1", f"'-1' in it is no layer and no range of layers. {RIGHT}"),
        ("0-99999999999", f"'0-99999999999' in it is no layer and no range of layers. {RIGHT}"),
        ("٣", f"'٣' in it is no layer and no range of layers. {RIGHT}"),
        ("all", f"'all' in it is no layer and no range of layers. {RIGHT}"),
        ("0,5-3", "the range 5-3 in it runs backwards. Write 3-5, or single numbers."),
    ],
)
def test_what_is_no_choice_of_layers_is_explained(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is asserted
        parse_layers(text)
    assert str(caught.value) == words
    (problem,) = Model("x", path="here", layers=text).problems()
    assert problem.path == ("layers",)
    assert problem.problem == words


@pytest.mark.parametrize(
    ("layers", "there", "words"),
    [
        ((0, 4), 4, "there is no layer 4: the model has 4, from 0 to 3. Leave it out."),
        ((1,), 1, "there is no layer 1: the model has one, number 0. Leave it out."),
        ((-1,), 4, "there is no layer -1: the model has 4, from 0 to 3. Leave it out."),
        ((), 4, f"it names no layer. {RIGHT}"),
    ],
)
def test_a_layer_that_the_model_lacks_is_named(layers: tuple[int, ...], there: int, words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is asserted
        check_layers(layers, there)
    assert str(caught.value) == words


def test_how_many_layers_there_are_is_known_before_loading_for_random_weights_only() -> None:
    shape = Architecture(8, 2, 2)
    (problem,) = Model("x", architecture=shape, layers="0-2").problems()
    assert problem.problem == "there is no layer 2: the model has 2, from 0 to 1. Leave it out."
    assert Model("x", architecture=shape, path="here", layers="0-2").problems() == []
