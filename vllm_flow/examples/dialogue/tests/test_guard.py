"""The guard, held to what every stage promises and to what it is for."""

from stages.guard import Words

from vllm_flow.core.values import Completion, Usage
from vllm_flow.testing import check_stage


def reply(text: str) -> Completion:
    return Completion(text, (), "stop", Usage(prompt_tokens=0, completion_tokens=0))


def test_words_are_crossed_out_in_capitals_or_not() -> None:
    guarded = check_stage(Words(words=("Paris", "Eiffel")), reply=reply("PARIS has the Eiffel tower. Ask a Parisian!"))
    assert guarded.text == "█████ has the ██████ tower. Ask a Parisian!"


def test_without_words_nothing_is_crossed_out() -> None:
    assert check_stage(Words(), reply=reply("Paris.")).text == "Paris."
