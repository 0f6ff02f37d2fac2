"""Place, day and facts, from a question alone and from what was said before."""

from datetime import datetime

import pytest
from stages.weather import Facts, Forecast

from vllm_flow import Context
from vllm_flow.testing import FixedClock, check_stage, context, turn

CLOCK = FixedClock(datetime.fromisoformat("2026-11-24T09:30:00+08:00"))
FORECAST = Forecast(file="pipelines/forecast.csv")
EARLIER = context("What will the weather in Beijing be tomorrow?", "Sunny. Lisbon has rain today.")


def known(question: str, earlier: Context = EARLIER, clock: FixedClock = CLOCK) -> str:
    (facts,) = check_stage(FORECAST, turn=turn(question), context=earlier, clock=clock).segments
    return str(facts.items[0].text)


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("And in Shanghai?", "The weather in Shanghai on 2026-11-25 will be light rain, between 8 and 12 degrees."),
        ("And the day after tomorrow?", "The weather in Beijing on 2026-11-26 will be snow, between -5 and 0 degrees."),
        ("And in Lisbon today?", "The weather in Lisbon on 2026-11-24 will be sunny, between 11 and 18 degrees."),
        ("后天呢？", "The weather in Beijing on 2026-11-26 will be snow, between -5 and 0 degrees."),
    ],
)
def test_place_and_day_are_those_that_were_asked_about_last(question: str, fact: str) -> None:
    assert known(question) == fact


@pytest.mark.parametrize("question", ["What will the weather in Beijing be tomorrow?", "明天北京天气怎么样？"])
def test_place_and_day_are_found_in_english_and_in_chinese(question: str) -> None:
    assert known(question, context()) == "The weather in Beijing on 2026-11-25 will be sunny, between -3 and 6 degrees."


def test_what_is_not_known_is_said() -> None:
    assert known("Will it rain?", context()) == "No place was named."
    late = FixedClock(datetime.fromisoformat("2027-01-01T00:00:00+08:00"))
    assert known("Beijing, today?", context(), late) == "There is no forecast for Beijing on 2027-01-01."


def test_the_facts_stand_behind_the_history_and_before_the_question() -> None:
    facts = {"weather": "It will be sunny."}
    prompt = check_stage(Facts(), turn=turn("And today?"), context=context(*EARLIER.messages, facts=facts))
    assert prompt.messages[:-1] == EARLIER.messages
    assert prompt.messages[-1].text == "(weather: It will be sunny.)\nAnd today?"
