"""How often the packaged SmolLM2 answers twenty English questions about the weather right, by pipeline=weather.

The server is one of our own, so what is right is known: the city and the day that it was asked for, and the temperatures
that it gave, which both have to stand in the answer. Where no city was named, right is a question and no call.

    python tests/bench/weather.py [key=value ...]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import vllm_flow
from tests.weather_server import served, weather_server
from vllm_flow import Result, Turn, user
from vllm_flow.core.tool_values import ToolResult

TODAY = date(2026, 11, 28)  # a Saturday
GIVEN = ("clock=fixed", "clock.time=2026-11-28T09:30:00+08:00")


@dataclass(frozen=True)
class Asked:
    """What is said, turn by turn; the last turn counts. `city` is empty where none was named."""

    said: tuple[str, ...]
    city: str = ""
    ahead: int = 0


TRIED = (
    Asked(("What will the weather be like in Beijing tomorrow?",), "Beijing", 1),
    Asked(("What is the weather in London today?",), "London", 0),
    Asked(("Is it raining in Paris today?",), "Paris", 0),
    Asked(("Will it snow in Oslo on Monday?",), "Oslo", 2),
    Asked(("How cold does Harbin get the day after tomorrow?",), "Harbin", 2),
    Asked(("What is the weather forecast for New York on 2026-12-02?",), "New York", 4),
    Asked(("Tell me the temperature in Cairo tomorrow.",), "Cairo", 1),
    Asked(("Do I need an umbrella in Tokyo tonight?",), "Tokyo", 0),
    Asked(("How is the weather in Rome on Sunday?",), "Rome", 1),
    Asked(("I fly to Sydney tomorrow. How warm will it be there?",), "Sydney", 1),
    Asked(("Shanghai today, please.",), "Shanghai", 0),
    Asked(("Will it be sunny in Madrid tomorrow?",), "Madrid", 1),
    Asked(("What should I wear in Toronto today?",), "Toronto", 0),
    Asked(("Weather in Chengdu on Wednesday?",), "Chengdu", 4),
    Asked(("What will the weather be like in Beijing tomorrow?", "And in Shanghai?"), "Shanghai", 1),
    Asked(("What is the weather in London today?", "And tomorrow?"), "London", 1),
    Asked(("How is Paris today?", "What about Rome?"), "Rome", 0),
    Asked(("I live in Oslo.", "What will the weather be like tomorrow?"), "Oslo", 1),
    Asked(("What will the weather be like tomorrow?",)),
    Asked(("Do I need an umbrella today?",)),
)
"""With these the pipeline was made, so they say less."""
QUESTIONS = (
    Asked(("Can you tell me what the weather in Paris will be tomorrow?",), "Paris", 1),
    Asked(("How hot will it get in Cairo on Tuesday?",), "Cairo", 3),
    Asked(("Is there going to be rain in Shanghai tonight?",), "Shanghai", 0),
    Asked(("Give me the forecast for Tokyo the day after tomorrow.",), "Tokyo", 2),
    Asked(("What's the temperature in Toronto right now?",), "Toronto", 0),
    Asked(("We have a picnic in Madrid on Sunday. Will the weather be good?",), "Madrid", 1),
    Asked(("Does it snow in Harbin today?",), "Harbin", 0),
    Asked(("I am going to New York tomorrow, do I need a coat?",), "New York", 1),
    Asked(("Tomorrow in Guangzhou: sun or rain?",), "Guangzhou", 1),
    Asked(("weather oslo friday",), "Oslo", 6),
    Asked(("Could you check the weather for London on 2026-12-01?",), "London", 3),
    Asked(("What is it like outside in Sydney today?",), "Sydney", 0),
    Asked(("Please tell me how cold it will be in Beijing in 2 days.",), "Beijing", 2),
    Asked(("My sister lives in Rome. What weather will she have tomorrow?",), "Rome", 1),
    Asked(("What is the weather in Cairo tomorrow?", "And the day after tomorrow?"), "Cairo", 2),
    Asked(("Is it cold in Oslo today?", "How about Madrid?"), "Madrid", 0),
    Asked(("Hello!", "Will it rain in Chengdu tomorrow?"), "Chengdu", 1),
    Asked(("I am in Toronto.", "Do I need an umbrella tomorrow?"), "Toronto", 1),
    Asked(("Is it going to rain on Monday?",)),
    Asked(("How is the weather?",)),
)
"""Nobody had tried these when they were written. None was changed since."""


def main(overrides: list[str]) -> None:
    for name, questions in (("tried before", TRIED), ("new", QUESTIONS)):
        called, right = asked_all(questions, overrides)
        what = "in so many the right thing was called, city and day, or nothing at all"
        print(f"{name}: {right} of {len(questions)} right; {what}: {called}\n")


def asked_all(questions: Sequence[Asked], overrides: Sequence[str]) -> tuple[int, int]:
    """In how many the right thing was called, and how many were answered right; each is shown."""
    called = right = 0
    with weather_server() as server:
        words = [*GIVEN, f"tools.offer.weather.host={server.url}", f"tools.offer.weather.geocoder={server.url}"]
        turns = [Turn(str(place), user(text)) for place, one in enumerate(questions) for text in one.said]
        with vllm_flow.load("weather", [*words, *overrides], record=False) as session:
            last = {result.turn.conversation: result for result in session.run(turns)}
    for place, asked in enumerate(questions):
        result = last[str(place)]
        how = judged(asked, result)
        called, right = called + how[0], right + how[1]
        print("".join("+" if one else "-" for one in how), " / ".join(asked.said), "->", repr(result.text))
    return called, right


def judged(asked: Asked, result: Result) -> tuple[bool, bool]:
    """Whether the right thing was called, and whether the answer is right."""
    results = [part for step in result.value.steps for part in step.parts if isinstance(part, ToolResult)]
    told = [one.text for one in results if not one.error]
    if not asked.city:
        return not told, not told and "?" in result.text
    day = TODAY + timedelta(days=asked.ahead)
    called = any(one.startswith(f"The weather in {asked.city} on {day:%A}, {day.day} ") for one in told)
    _, low, high = served(asked.city, day.isoformat())
    numbers = re.findall(r"-?\d+", result.text)
    return called, called and str(low) in numbers and str(high) in numbers


if __name__ == "__main__":
    main(sys.argv[1:])
