from __future__ import annotations

import dataclasses

import pytest

from vllm_flow.core.codec import completion_from_json, encode, to_json
from vllm_flow.core.json_checks import brief
from vllm_flow.core.json_text import decode
from vllm_flow.core.message_json import message_from_json
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.tool_values import ToolCall, ToolResult
from vllm_flow.core.values import Completion, Usage

CALL = ToolCall("weather", {"place": "Beijing", "days": [1, 2.5, None]}, "c1")
ASKS = Message("assistant", (Text("Let me look."), CALL))
TOLD = Message("tool", (ToolResult("weather", "sunny", "c1"), ToolResult("clock", "no", error="TimeoutError")))
ONLY = "An assistant has tool_call parts, a tool has tool_result parts and no others."


def test_calls_and_results_are_parts_and_come_back_as_they_were():
    assert to_json(ASKS) == {
        "role": "assistant",
        "parts": [
            {"text": "Let me look."},
            {
                "type": "tool_call",
                "name": "weather",
                "arguments": {"place": "Beijing", "days": [1, 2.5, None]},
                "id": "c1",
            },
        ],
    }
    assert to_json(TOLD)["parts"][1] == {"type": "tool_result", "name": "clock", "text": "no", "error": "TimeoutError"}
    for message in (ASKS, TOLD, Message("tool", (ToolResult("a", ""),)), Message("assistant", (ToolCall("a", {}),))):
        assert message_from_json(decode(encode(message))) == message


def test_a_reply_keeps_the_steps_to_it_and_one_without_any_is_written_as_ever():
    reply = Completion("Sunny.", (1, 2), "stop", Usage(9, 2), steps=(ASKS, TOLD))
    assert completion_from_json(decode(encode(reply))) == reply
    assert "steps" not in to_json(dataclasses.replace(reply, steps=()))


def test_messages_are_read_as_chat_services_write_them():
    function = {"name": "weather", "arguments": '{"place": "Beijing", "days": [1, 2.5, null]}'}
    calls = [{"id": "c1", "type": "function", "function": function}]
    only = Message("assistant", (CALL,))
    assert message_from_json({"role": "assistant", "content": None, "tool_calls": calls}) == only
    assert message_from_json({"role": "assistant", "content": "Let me look.", "tool_calls": calls}) == ASKS
    told = {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "sunny"}
    assert message_from_json(told) == Message("tool", (ToolResult("weather", "sunny", "c1"),))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"role": "user", "parts": [{"type": "tool_call", "name": "a", "arguments": {}}]},
            f"m.parts.0: a tool_call in a message from the user. {ONLY}",
        ),
        (
            {"role": "tool", "parts": [{"text": "a"}, {"type": "tool_result", "name": "a", "text": ""}]},
            f"m.parts.0: a text in a message from the tool. {ONLY}",
        ),
        (
            {"role": "assistant", "parts": [{"type": "tool_call", "name": "a", "arguments": "x"}]},
            "m.parts.0.arguments: 'x' is no mapping. Give the arguments by name.",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{"}}]},
            "m.tool_calls.0.function.arguments: '{' is no JSON. Write a mapping.",
        ),
        *(
            (
                {"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": text}}]},
                f"m.tool_calls.0.function.arguments: {brief(text)} is no JSON. Write a mapping.",
            )
            for text in ('{"x": NaN}', '{"x": 1, "x": 2}', '{"x":' * 100_000)
        ),
        (
            {"role": "tool", "name": "a", "parts": [{"type": "tool_result", "name": "a", "text": ""}]},
            "m.name: the parts say it already. Leave it out.",
        ),
        (
            {"role": "user", "content": "Hi", "tool_calls": []},
            "m: there is no key 'tool_calls'. Keys: content, parts, role.",
        ),
    ],
)
def test_a_message_with_tools_at_fault_is_refused_with_its_place(data, problem):
    with pytest.raises(ValueError, match=r"\.") as caught:
        message_from_json(data, "m")
    assert str(caught.value) == problem
