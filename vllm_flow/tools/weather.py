"""The weather, as an Open-Meteo server tells it: places by name, in any language, and a forecast for each day.

The server is asked without a key (https://open-meteo.com/en/docs). Where the place is written in Chinese, the answer
is Chinese, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode

from vllm_flow.core.errors import ToolError, WebError, shown
from vllm_flow.core.json_text import decode
from vllm_flow.core.options import OptionProblem, above
from vllm_flow.core.registry import tool
from vllm_flow.core.resources import Clock
from vllm_flow.tools.days import DAY, day_of
from vllm_flow.tools.weather_words import CHINESE_DAYS, SKY, TALK
from vllm_flow.web import GuardedWeb, Http

ASKED = ("weather_code", "temperature_2m_min", "temperature_2m_max", "precipitation_probability_max")
HAN = re.compile(r"[\u4e00-\u9fff]")
SERVER = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]+)?")
FARTHEST_DAYS = 15
"""So far ahead there are forecasts."""
ASK = ("Which city do you mean?", "请问您指的是哪个城市？")
SORRY = ("I cannot get a forecast at the moment. Please ask again later.", "抱歉，现在无法获取天气预报，请稍后再问。")
TOO_FAR = ("I have forecasts for the next 15 days only.", "我只有未来15天的天气预报。")
"""Each in English and in Chinese."""


@tool("weather")
@dataclass(frozen=True)
class Weather:
    """The weather forecast for a city and a day."""

    host: str = "https://api.open-meteo.com"
    """A server that gives /v1/forecast as Open-Meteo does."""
    geocoder: str = "https://geocoding-api.open-meteo.com"
    """A server that gives /v1/search, places by their names, as Open-Meteo does."""
    timeout_s: Annotated[float, above(0)] = 10.0
    """How long each of the two requests may take."""

    def problems(self) -> Iterator[OptionProblem]:
        for name in ("host", "geocoder"):
            if not SERVER.fullmatch(getattr(self, name)):
                what = f"{shown(getattr(self, name))} is no server. Write one such as https://api.open-meteo.com."
                yield OptionProblem((name,), what)

    @property
    def _options(self) -> Http:
        """The operator has chosen the servers, not the model: they may be in the local network."""
        return Http((self.host, self.geocoder), private=True, timeout_s=self.timeout_s, redirects=0)

    async def call(self, place: str, clock: Clock, day: Annotated[str, DAY] = "today") -> str:
        """
        Args:
            place: The city, in the user's own words, such as Paris or 北京.
            day: today, tomorrow, a weekday, or a date such as 2026-11-29.
        """
        chinese = bool(HAN.search(place + day))
        if TALK.issuperset(place.casefold().split()):
            raise ToolError("no city is named", ASK[chinese])
        today = clock.now().date()
        wanted = day_of(day, today)
        if not 0 <= (wanted - today).days <= FARTHEST_DAYS:
            what = f"there are forecasts from {today} to {FARTHEST_DAYS} days later, and none for {wanted}"
            raise ToolError(what, TOO_FAR[chinese])
        try:
            found = await self._place(place.strip(), "zh" if chinese else "en")
            return _said(found, wanted, await self._forecast(found, wanted), chinese)
        except (WebError, ToolError) as error:
            if getattr(error, "say", ""):
                raise
            raise ToolError(str(error), SORRY[chinese]) from error

    async def _place(self, said: str, language: str) -> Mapping[str, Any]:
        """The best known place of that name; behind a comma stands where it is."""
        name, _, within = (part.strip() for part in said.replace("，", ",").partition(","))
        for one in dict.fromkeys((name, name.removesuffix("市"))):
            query = urlencode({"name": one, "count": 10, "language": language, "format": "json"})
            results = (await self._get(f"{self.geocoder}/v1/search?{query}")).get("results") or ()
            if results:
                return _within(results, within)
        raise ToolError(f"no place is called '{said}'", ASK[language == "zh"])

    async def _forecast(self, place: Mapping[str, Any], day: date) -> Mapping[str, Any]:
        where = {"latitude": place["latitude"], "longitude": place["longitude"], "timezone": "auto"}
        query = urlencode({**where, "daily": ",".join(ASKED), "start_date": day, "end_date": day})
        answer = await self._get(f"{self.host}/v1/forecast?{query}")
        try:
            at = answer["daily"]["time"].index(day.isoformat())
            return {name: answer["daily"][name][at] for name in ASKED}
        except (KeyError, TypeError, ValueError, IndexError):
            raise ToolError(f"the weather server says nothing of {place['name']} on {day}") from None

    async def _get(self, url: str) -> Mapping[str, Any]:
        page = await GuardedWeb(self._options, "resources.tools.offer.weather").get(url)
        try:
            answer = decode(page.text)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ToolError("the weather server's answer cannot be read")
        return answer


def _within(results: Sequence[Any], region: str) -> Mapping[str, Any]:
    """The first that can be read; of several the one in the region, if one is named."""
    sound = [one for one in results if isinstance(one, dict) and {"name", "latitude", "longitude"} <= one.keys()]
    if not sound:
        raise ToolError("the weather server's answer cannot be read")
    keys = ("admin1", "country", "country_code")
    there = (one for one in sound if region.casefold() in {str(one.get(key)).casefold() for key in keys})
    return next(there, sound[0])


def _said(place: Mapping[str, Any], day: date, weather: Mapping[str, Any], chinese: bool) -> str:
    """In one sentence, which a small model can say again."""
    low, high, chance = (weather[name] for name in ASKED[1:])
    if not all(isinstance(one, int | float) for one in (low, high)):
        raise ToolError(f"the weather server gives no temperature for {place['name']} on {day}")
    english, hanzi = SKY.get(weather["weather_code"], ("", ""))
    if chinese:
        rain = f"，降水概率{chance:.0f}%" if isinstance(chance, int | float) else ""
        when = f"{day.year}年{day.month}月{day.day}日（{CHINESE_DAYS[day.weekday()]}）"
        return f"{place['name']}{when}：{f'{hanzi}，' if hanzi else ''}{low:.0f}到{high:.0f}℃{rain}。"
    rain = f" The chance of rain is {chance:.0f} %." if isinstance(chance, int | float) else ""
    sky = f"{english}, " if english else ""
    when = f"{day:%A}, {day.day} {day:%B %Y}"
    return f"The weather in {place['name']} on {when} will be {sky}between {low:.0f} and {high:.0f} °C.{rain}"
