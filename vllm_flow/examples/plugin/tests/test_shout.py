"""The stage, held to what every stage promises and to what it is for."""

from acme.shout import Loud

from vllm_flow.core.values import Completion, Usage
from vllm_flow.testing import check_stage


def test_the_reply_is_said_in_capitals() -> None:
    reply = Completion("hello", (), "stop", Usage(prompt_tokens=0, completion_tokens=0))
    assert check_stage(Loud(mark="!!"), reply=reply).text == "HELLO!!"
