"""Weather in words: the codes of WMO table 4677 that Open-Meteo uses, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping

CHINESE_DAYS = ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日")
SKY: Mapping[int, tuple[str, str]] = {
    0: ("clear sky", "晴"), 1: ("mostly clear", "晴间多云"), 2: ("partly cloudy", "多云"), 3: ("overcast", "阴"),
    45: ("fog", "雾"), 48: ("freezing fog", "冻雾"),
    51: ("light drizzle", "小毛毛雨"), 53: ("drizzle", "毛毛雨"), 55: ("heavy drizzle", "大毛毛雨"),
    56: ("light freezing drizzle", "轻冻毛毛雨"), 57: ("freezing drizzle", "冻毛毛雨"),
    61: ("light rain", "小雨"), 63: ("rain", "中雨"), 65: ("heavy rain", "大雨"),
    66: ("light freezing rain", "小冻雨"), 67: ("freezing rain", "冻雨"),
    71: ("light snow", "小雪"), 73: ("snow", "中雪"), 75: ("heavy snow", "大雪"), 77: ("snow grains", "米雪"),
    80: ("light showers", "小阵雨"), 81: ("showers", "阵雨"), 82: ("heavy showers", "强阵雨"),
    85: ("light snow showers", "小阵雪"), 86: ("snow showers", "阵雪"),
    95: ("thunderstorm", "雷暴"), 96: ("thunderstorm with light hail", "雷暴伴小冰雹"),
    99: ("thunderstorm with hail", "雷暴伴冰雹"),
}  # fmt: skip
TALK = frozenset({
    "the", "day", "evening", "outside", "umbrella", "coat", "jacket", "wear", "run", "none", "weather", "forecast",
    "temperature", "rain", "raining", "rainy", "snow", "snowing", "snowy", "sun", "sunny", "wind", "windy", "cloud",
    "cloudy", "fog", "foggy", "storm", "cold", "cool", "warm", "hot", "wet", "dry", "degrees",
})  # fmt: skip
"""What a small model takes for a city where none was named."""
