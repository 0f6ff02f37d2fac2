"""The guard, held to what every stage promises and to what it is for."""

from stages.guard import Words

from vllm_flow.testing import check_stage, completion


def test_words_are_crossed_out_in_capitals_or_not() -> None:
    reply = completion("PARIS has the Eiffel tower. Ask a Parisian!")
    guarded = check_stage(Words(words=("Paris", "Eiffel")), reply=reply)
    assert guarded.text == "█████ has the ██████ tower. Ask a Parisian!"


def test_without_words_nothing_is_crossed_out() -> None:
    assert check_stage(Words(), reply=completion("Paris.")).text == "Paris."
