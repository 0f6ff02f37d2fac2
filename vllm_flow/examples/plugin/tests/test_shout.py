"""The stage, held to what every stage promises and to what it is for."""

from acme.shout import Loud

from vllm_flow.testing import check_stage, completion


def test_the_reply_is_said_in_capitals() -> None:
    assert check_stage(Loud(mark="!!"), reply=completion("hello")).text == "HELLO!!"
