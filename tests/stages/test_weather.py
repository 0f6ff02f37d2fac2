"""pipeline=weather with a model whose words are scripted: twenty questions, and everything that can go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

import vllm_flow
from tests.weather_server import CITIES, WeatherServer, served, weather_server
from vllm_flow import cli
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Capabilities
from vllm_flow.core.values import Request
from vllm_flow.engines.echo import Echo
from vllm_flow.testing import ScriptedEngine
from vllm_flow.tools.weather_words import SKY

TODAY = date(2026, 11, 28)  # a Saturday
NO_FORECAST = "I cannot get a forecast at the moment. Please ask again later."
SORRY = {"en": "Sorry, I could not find that out.", "zh": "抱歉，我查不到。"}


@dataclass(frozen=True)
class Asked:
    """A question, what a good model calls for it, and for what the server is asked then."""

    question: str
    place: str
    day: str
    city: str
    ahead: int


QUESTIONS = (
    Asked("What will the weather be like in Beijing tomorrow?", "Beijing", "tomorrow", "Beijing", 1),
    Asked("Is it raining in London today?", "London", "today", "London", 0),
    Asked("Will it snow in Oslo on Monday?", "Oslo", "Monday", "Oslo", 2),
    Asked("How cold does Harbin get the day after tomorrow?", "Harbin", "the day after tomorrow", "Harbin", 2),
    Asked("Weather for New York on 2026-12-02, please.", "New York", "2026-12-02", "New York", 4),
    Asked("I fly to sydney next Friday. What should I pack?", "sydney", "next Friday", "Sydney", 6),
    Asked("Temperature in Cairo in 3 days?", "Cairo", "in 3 days", "Cairo", 3),
    Asked("Do I need an umbrella in Paris tonight?", "Paris", "tonight", "Paris", 0),
    Asked("How is Tokyo on Sunday?", "Tokyo", "Sunday", "Tokyo", 1),
    Asked("And what about Rome today?", "Rome", "today", "Rome", 0),
    Asked("明天北京天气怎么样？", "北京", "明天", "Beijing", 1),
    Asked("上海今天下雨吗？", "上海", "今天", "Shanghai", 0),
    Asked("后天广州热不热？", "广州", "后天", "Guangzhou", 2),
    Asked("成都周三天气如何？", "成都", "周三", "Chengdu", 4),
    Asked("哈尔滨下周一多少度？", "哈尔滨", "下周一", "Harbin", 2),
    Asked("巴黎大后天会下雪吗？", "巴黎", "大后天", "Paris", 3),
    Asked("12月5日东京的天气？", "东京", "12月5日", "Tokyo", 7),
    Asked("今晚伦敦冷吗？", "伦敦", "今晚", "London", 0),
    Asked("3天后纽约天气怎么样？", "纽约", "3天后", "New York", 3),
    Asked("星期日北京市出太阳吗？", "北京市", "星期日", "Beijing", 1),
)
SCRIPTS: list[ScriptedEngine] = []


@resource("test/scripted")
@dataclass(frozen=True)
class Scripted(Echo):
    """The engine that the test has put there."""

    def capabilities(self) -> Capabilities:
        return Capabilities(sampling=Echo().capabilities().sampling, tools=True, shapes=frozenset({"schema"}))

    def open(self) -> ScriptedEngine:  # type: ignore[override]  # for the test it is one
        return SCRIPTS[-1]


def call(place: str, day: str) -> str:
    return f"<tool_call>{json.dumps({'name': 'weather', 'arguments': {'place': place, 'day': day}})}</tool_call>"


def from_result(request: Request) -> str:
    """What a polite model says of what it was told."""
    told = request.prompt.messages[-1].text
    chinese = any(
        "\u4e00" <= letter <= "\u9fff" for one in request.prompt.messages if one.role == "user" for letter in one.text
    )
    return SORRY["zh" if chinese else "en"] if told.startswith("Error") else told


@pytest.fixture
def server() -> Iterator[WeatherServer]:
    with weather_server() as found:
        yield found


Open = Callable[..., vllm_flow.Session]


@pytest.fixture
def opened(server: WeatherServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.chdir(tmp_path)
    sessions: list[vllm_flow.Session] = []

    def open_(*replies: str | Callable[[Request], str], record: bool = False, **options: object) -> vllm_flow.Session:
        SCRIPTS.append(ScriptedEngine(*replies))
        words = [
            "clock=fixed", "clock.time=2026-11-28T09:30:00+08:00", "engine=echo", "engine.use=test/scripted",
            f"tools.offer.weather.host={server.url}", f"tools.offer.weather.geocoder={server.url}",
        ]  # fmt: skip
        words += [f"{key}={value}" for key, value in options.items()]
        session = vllm_flow.load("weather", words, record=tmp_path / "record" if record else False)
        sessions.append(session)
        return session

    yield open_
    for session in sessions:
        session.close()
    SCRIPTS.clear()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ten_questions_are_answered_with_what_the_server_says_of_that_city_and_day(
    opened: Open, server: WeatherServer, language: str
) -> None:
    asked = [one for one in QUESTIONS if one.question.isascii() == (language == "en")]
    assert len(asked) == 10
    session = opened(*(reply for one in asked for reply in (call(one.place, one.day), from_result)))
    for one in asked:
        answer, day = session.run(one.question, conversation=one.question), TODAY + timedelta(days=one.ahead)
        assert server.asked.pop() == (one.city, day.isoformat())
        code, low, high = served(one.city, day.isoformat())
        if language == "en":
            assert answer.text == (
                f"The weather in {one.city} on {day:%A}, {day.day} {day:%B %Y} will be {SKY[code][0]}, "
                f"between {low} and {high} °C. The chance of rain is 20 %."
            )
        else:
            assert f"{SKY[code][1]}，{low}到{high}℃，降水概率20%。" in answer.text
            assert answer.text.startswith(f"{CITIES[one.city]}2026年{day.month}月{day.day}日（星期")
    assert server.requests == 20 + (language == "zh")  # 北京市 is asked for as 北京, too


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_city_and_day_may_have_been_said_before(opened: Open, server: WeatherServer, store: str) -> None:
    replies = call("Paris", "tomorrow"), from_result, call("Rome", "tomorrow"), from_result
    session = opened(*replies, store=store)
    session.run("What will it be like in Paris tomorrow?")
    session.run("And in Rome?")
    assert server.asked == [("Paris", "2026-11-29"), ("Rome", "2026-11-29")]
    read = [one.role for one in SCRIPTS[-1].requests[2].prompt.messages]
    assert read == ["system", "user", "assistant", "tool", "assistant", "user"]  # the first result is known


def test_it_asks_back_when_no_city_was_named(opened: Open, server: WeatherServer) -> None:
    session = opened("Which city do you mean?", call("Oslo", "tomorrow"), from_result)
    assert session.run("Do I need an umbrella tomorrow?").text == "Which city do you mean?"
    session.run("I am in Oslo.")
    assert server.asked == [("Oslo", "2026-11-29")]


def test_a_city_that_the_model_made_up_is_not_asked_for(opened: Open, server: WeatherServer) -> None:
    answer = opened(call("Berlin", "today"), "Which city do you mean?").run("How is the weather?")
    assert answer.text == "Which city do you mean?"
    assert (server.requests, answer.value.steps[1].parts[0].error) == (0, "NotSaid")


@pytest.mark.parametrize("place", ["", "umbrella", "The sun"])
def test_a_word_of_the_weather_is_no_city_and_no_server_is_asked(
    opened: Open, server: WeatherServer, place: str
) -> None:
    answer = opened(call(place, "today"), from_result).run("Is the sun out, or do I need an umbrella?")
    (result,) = answer.value.steps[1].parts
    assert result.text == "Error: no city is named. Tell the user: Which city do you mean?"
    assert (result.say, server.requests) == ("Which city do you mean?", 0)


TROUBLE = [
    (
        "down",
        "WebError",
        "/v1/search?name=Oslo&count=10&language=en&format=json: the server answered 500 Internal Server Error.",
    ),
    ("slow", "WebError", "no whole page came within 0.2 s."),
    ("malformed", "ToolError", "Error: the weather server's answer cannot be read. Tell the user: I cannot get"),
    ("empty", "ToolError", "Error: the weather server says nothing of Oslo on 2026-11-28. Tell the user: I cannot get"),
]


@pytest.mark.parametrize(("trouble", "error", "text"), TROUBLE, ids=[one[0] for one in TROUBLE])
def test_a_server_in_trouble_is_a_polite_reply_and_a_recorded_error(
    opened: Open, server: WeatherServer, trouble: str, error: str, text: str
) -> None:
    server.trouble = trouble
    waited = {"tools.offer.weather.timeout_s": 0.2} if trouble == "slow" else {}
    session = opened(call("Oslo", "today"), from_result, record=True, **waited)
    answer = session.run("How is the weather in Oslo?")
    assert answer.text == SORRY["en"]
    (result,) = answer.value.steps[1].parts
    assert result.error == error
    assert text in result.text
    session.close()
    (row,) = map(json.loads, (session.folder / "calls.jsonl").read_text("utf-8").splitlines())
    (heard,) = [one["value"] for one in row["calls"] if one["resource"] == "tools"]
    assert heard == {
        "asked": {"name": "weather", "arguments": {"place": "Oslo", "day": "today"}},
        "text": result.text,
        "error": error,
        "say": NO_FORECAST,
    }


def test_no_server_at_all_and_an_unknown_city_are_told_too(opened: Open, server: WeatherServer) -> None:
    session = opened(call("Atlantis", "today"), from_result)
    answer = session.run("How is the weather in Atlantis?")
    (result,) = answer.value.steps[1].parts
    assert (result.text, result.say) == (
        "Error: no place is called 'Atlantis'. Tell the user: Which city do you mean?",
        "Which city do you mean?",
    )
    nowhere = {"tools.offer.weather.host": "http://127.0.0.1:9", "tools.offer.weather.geocoder": "http://127.0.0.1:9"}
    answer = opened(call("Oslo", "today"), from_result, **nowhere).run("How is the weather in Oslo?")
    assert answer.text == SORRY["en"]
    assert (
        answer.value.steps[1]
        .parts[0]
        .text.startswith(
            "Error: http://127.0.0.1:9/v1/search?name=Oslo&count=10&language=en&format=json: no page could be had: "
        )
    )


@pytest.mark.parametrize(
    ("day", "text"),
    [
        (
            "yesterday",
            "day: 'yesterday' does not fit. It takes today, tomorrow, a weekday, or a date such as 2026-11-29.",
        ),
        (
            "2026-12-24",
            "there are forecasts from 2026-11-28 to 15 days later, and none for 2026-12-24. Tell the user: I have "
            "forecasts for the next 15 days only.",
        ),
        (
            "2026-02-30",
            "the day '2026-02-30' is not understood. Write today, tomorrow, a weekday, or a date such as 2026-11-29.",
        ),
    ],
)
def test_a_day_without_a_forecast_is_told(opened: Open, day: str, text: str) -> None:
    answer = opened(call("Oslo", day), from_result).run("How is the weather in Oslo?")
    assert answer.value.steps[1].parts[0].text == f"Error: {text}"


def test_a_record_is_shown_and_verified_without_the_server(
    opened: Open, server: WeatherServer, capsys: pytest.CaptureFixture[str]
) -> None:
    session = opened(call("Oslo", "today"), from_result, "Which city?", record=True)
    told = session.run("How is the weather in Oslo, or in Bergen?", conversation="a").text
    session.run("And elsewhere?", conversation="a")
    session.close()
    folder, asked = session.folder, server.requests
    server.trouble = "down"
    assert cli.main(["replay", str(folder)]) == 0
    shown = capsys.readouterr()
    assert told in shown.out
    assert shown.err.splitlines()[:2] == ["weather(place=Oslo, day=today)", f"  → {told[:99]}…"]
    SCRIPTS.append(ScriptedEngine(call("Oslo", "today"), from_result, "Which city?"))
    assert cli.main(["replay", str(folder), "--verify"]) == 0
    assert capsys.readouterr().out.startswith("all 2 answers equal")
    SCRIPTS.append(ScriptedEngine(call("Bergen", "today"), from_result, "Which city?"))
    assert cli.main(["replay", str(folder), "--verify"]) == 1
    assert "Bergen" in capsys.readouterr().out
    assert server.requests == asked
