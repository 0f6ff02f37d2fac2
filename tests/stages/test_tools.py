"""infer/tools with engines that say what the test tells them."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime

import pytest

from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import Message, Text, user
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.shape import Shape
from vllm_flow.core.tool_shape import shape_of
from vllm_flow.core.tool_values import ToolCall, ToolResult
from vllm_flow.core.values import Prompt
from vllm_flow.stages.tools import WithTools
from vllm_flow.testing import FakeTools, FixedClock, ScriptedEngine, check_stage, prompt, schedule
from vllm_flow.tools.functions import Functions

CLOCK = FixedClock(datetime.fromisoformat("2026-11-28T09:30:00+08:00"))
ASKED = prompt("What is 12 times 12?")
SCHEDULE = schedule(max_tokens=64)


def call(name, **arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def run(stage, *replies, tools=None, asked=ASKED, form="template", shapes=()):
    """The answer, and the engine that gave it."""
    engine = ScriptedEngine(*replies, *replies, tools=form, shapes=shapes)  # the check runs it twice
    offered = tools or Functions({"clock": {}, "calculator": {}}).open()
    given = {"prompt": asked, "schedule": SCHEDULE, "engine": engine, "tools": offered, "clock": CLOCK}
    return check_stage(stage, **given), engine


def test_an_answer_without_a_call_is_the_answer():
    reply, engine = run(WithTools(), "It is 144.")
    assert (reply.text, reply.steps) == ("It is 144.", ())
    assert [spec.name for spec in engine.requests[0].prompt.tools] == ["clock", "calculator"]


def test_a_call_is_run_and_the_model_answers_from_its_result():
    reply, engine = run(WithTools(), f"Let me see. {call('calculator', expression='12*12')}", "It is 144.")
    asked = ToolCall("calculator", {"expression": "12*12"}, "call00000")
    steps = (
        Message("assistant", (Text("Let me see."), asked)),
        Message("tool", (ToolResult("calculator", "144", "call00000"),)),
    )
    assert (reply.text, reply.steps) == ("It is 144.", steps)
    second = engine.requests[1]
    assert second.prompt.messages == (*ASKED.messages, *steps)
    assert [request.sample for request in engine.requests[:2]] == [0, 1]


def test_several_calls_of_one_answer_run_at_once_and_keep_their_order():
    both = call("calculator", expression="1+1") + "\n" + call("clock")
    reply, _ = run(WithTools(), both, "Done.")
    first, second = reply.steps[1].parts
    assert (first.text, first.id, second.id) == ("2", "call00000", "call00001")
    assert second.text == "Saturday, 28 November 2026, 09:30 (UTC+08:00, 2026-11-28T09:30:00+08:00)"


def test_mistakes_are_told_to_the_model_which_mends_them():
    replies = (call("calculate", x=1), call("calculator", expr="2"), "<tool_call>{broken</tool_call>", "I give up.")
    reply, engine = run(WithTools(mend=3), *replies)
    told = [step.parts[0] for step in reply.steps if step.role == "tool"]
    assert [one.error for one in told] == ["UnknownTool", "BadArguments", "UnreadableCall"]
    assert told[0].text == (
        "Error: there is no function 'calculate'. Did you mean 'calculator'? There are: calculator, clock."
    )
    assert told[1].text == (
        "Error: expression: 'expression' is missing. It takes a text. "
        "expr: there is no argument 'expr'. Arguments: expression."
    )
    assert told[2].text.startswith("Error: the call is no JSON: ")
    assert reply.text == "I give up."
    assert engine.requests[3].prompt.tools  # it might still have called


def test_after_too_many_mistakes_the_turn_goes_on_without_tools():
    reply, engine = run(WithTools(mend=1), call("nope"), call("nope"), "I do not know.")
    assert reply.text == "I do not know."
    assert [bool(request.prompt.tools) for request in engine.requests[:3]] == [True, True, False]


def test_rounds_are_bounded():
    again = call("calculator", expression="1+1")
    reply, engine = run(WithTools(rounds=2), again, again, "Two.")
    assert reply.text == "Two."
    assert [bool(request.prompt.tools) for request in engine.requests[:3]] == [True, True, False]
    assert len(reply.steps) == 4


def test_no_round_begins_when_the_time_is_over():
    class Hurrying(FixedClock):
        def now(self):
            self.moment = self.moment.replace(minute=self.moment.minute + 1)
            return self.moment

    engine, tools = ScriptedEngine(call("clock"), "It is late."), FakeTools(clock="9:30")
    work = WithTools(seconds=100).run(ASKED, SCHEDULE, engine, tools, clock=Hurrying(CLOCK.moment))
    reply = asyncio.run(work)
    assert reply.text == "It is late."
    assert [bool(request.prompt.tools) for request in engine.requests] == [True, False]


def test_a_model_that_has_no_form_for_tools_is_held_to_a_shape_where_the_engine_can():
    replies = ('{"name": "calculator", "arguments": {"expression": "12*12"}}', '{"name": "answer", "arguments": {}}')
    tools = Functions({"calculator": {}}).open()
    reply, engine = run(WithTools(), *replies, "144.", tools=tools, form="written", shapes=("schema",))
    assert reply.text == "144."
    first, second, last = engine.requests[:3]
    schema = json.loads(first.shape.schema)
    assert schema["anyOf"][0]["properties"] == {
        "name": {"const": "calculator"},
        "arguments": {
            "type": "object",
            "properties": {"expression": {"type": "string"}},
            "required": ["expression"],
            "additionalProperties": False,
        },
    }
    assert schema["anyOf"][1]["properties"]["name"] == {"const": "answer"}
    assert first.prompt.tools == ()
    assert first.prompt.messages[0].role == "system"
    assert '"name": "calculator"' in first.prompt.messages[0].text
    assert second.prompt.messages[-1].text == "144\nWhat is 12 times 12?"
    assert last.shape is None
    assert "<tools>" not in last.prompt.messages[0].text


def test_calls_can_be_demanded_where_they_are_constrained():
    one = '{"name": "weather", "arguments": {"place": "Oslo"}}'
    stage, tools = WithTools(form="constrained", rounds=1, least=1), FakeTools(weather="Rain.")
    reply, engine = run(stage, one, "It rains.", tools=tools, shapes=("schema",))
    assert json.loads(engine.requests[0].shape.schema)["properties"]["name"] == {"const": "weather"}
    assert reply.text == "It rains."
    assert len(engine.requests) == 4  # of two runs: nobody was asked whether another call is needed


def test_what_the_user_has_not_said_is_not_called_for():
    stage, tools = WithTools(said=("weather.place",)), FakeTools(weather=lambda place: "Rain.")
    asked = Prompt((user("Weather in OSLO?"), Message("assistant", (Text("Rain."),)), user("And tomorrow?")))
    replies = call("weather", place="Bergen"), call("weather", place="Oslo"), "It rains."
    reply, _ = run(stage, *replies, tools=tools, asked=asked)
    refused, called = (step.parts[0] for step in reply.steps if step.role == "tool")
    assert refused.error == "NotSaid"
    assert refused.text == "Error: the user has not said 'Bergen'. Ask the user for the place."
    assert called.text == "Rain."
    assert [dict(one.arguments) for one in tools.calls] == [{"place": "Oslo"}] * 2


@pytest.mark.parametrize("place", ["Rome", "Oslo Jerome"])
def test_a_part_of_a_word_has_not_been_said_and_neither_have_words_of_two_messages(place):
    stage, tools = WithTools(said=("weather.place",)), FakeTools(weather=lambda place: "Rain.")
    asked = Prompt((user("I live in Oslo"), Message("assistant", (Text("Ah."),)), user("Jerome asks for the weather.")))
    reply, _ = run(stage, call("weather", place=place), "Where?", tools=tools, asked=asked)
    assert reply.steps[1].parts[0].text == f"Error: the user has not said '{place}'. Ask the user for the place."
    assert tools.calls == []


def test_a_call_that_was_cut_off_is_told_and_the_turn_goes_on():
    stage = WithTools(form="constrained", mend=0)
    reply, _ = run(stage, '{"name": "calculator", "argu', "No idea.", shapes=("schema",))
    assert reply.text == "No idea."
    assert reply.steps[1].parts[0].error == "UnreadableCall"


@pytest.mark.parametrize(
    ("stage", "path", "problem"),
    [
        (WithTools(said=("place",)), ("said", "0"), "'place' names no argument. Write the function and its argument, such as weather.place."),
        (WithTools(rounds=1, least=2), ("least",), "2 rounds are more than rounds=1. Lower it, or raise rounds."),
        (WithTools(form="template", least=1), ("least",), "only constrained calls can be demanded. Set form: constrained, or least: 0."),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(stage, path, problem):
    assert [*stage.problems()] == [OptionProblem(path, problem)]


def test_a_plain_prompt_is_refused():
    with pytest.raises(EngineError) as caught:
        run(WithTools(), "Hi.", asked=Prompt((user("Hi"),), plain=True))
    assert str(caught.value) == "prompt: a plain prompt has no place for tools. Use fuse/chat."


def test_where_only_the_user_can_help_a_model_held_to_shapes_asks():
    def weather(place):
        raise AssertionError(place)

    class Asking(FakeTools):
        async def call(self, call, given):
            return ToolResult(call.name, "Error: which one?", call.id, "ToolError", "Which city do you mean?")

    one = '{"name": "weather", "arguments": {"place": ""}}'
    stage = WithTools(form="constrained", rounds=1, least=1)
    reply, engine = run(stage, one, "Which city do you mean?", tools=Asking(weather=weather), shapes=("schema",))
    assert engine.requests[1].shape == Shape(choices=("Which city do you mean?",))
    assert reply.text == "Which city do you mean?"


def test_what_has_to_be_said_is_taken_from_what_was_said_where_calls_are_constrained():
    spec = Functions({"weather": {}}).open()
    stage = WithTools(form="constrained", rounds=1, said=("weather.place", "weather.day"))
    asked = Prompt((user("I live in New York."), Message("assistant", (Text("Ah."),)), user("How is it on Monday?")))
    _, engine = run(stage, '{"name": "answer", "arguments": {}}', "Hm.", tools=spec, asked=asked, shapes=("schema",))
    arguments = json.loads(engine.requests[0].shape.schema)["anyOf"][0]["properties"]["arguments"]
    place, day = (arguments["properties"][name]["enum"] for name in ("place", "day"))
    assert place == ["", "live in New York", "live in New", "live", "New York", "New", "York"]
    assert day == ["on Monday"]
    assert arguments["required"] == ["place", "day"]


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("Do I need an umbrella tomorrow?", ["umbrella"]),
        ("What is it like this evening?", []),
        ("How is The Hague the day after tomorrow?", ["The Hague", "Hague"]),
        ("weather oslo friday", ["weather oslo", "weather", "oslo"]),
        ("明天北京冷", ["北京冷", "北京", "北", "京冷", "京", "冷"]),
    ],
)
def test_a_name_is_taken_from_words_that_may_be_one_and_not_from_those_of_another_argument(said, names):
    weather = Functions({"weather": {}}).open().specs()
    schema = json.loads(shape_of(weather, True, ("weather.place", "weather.day"), (said,)).schema)
    assert schema["properties"]["arguments"]["properties"]["place"]["enum"] == ["", *names]
