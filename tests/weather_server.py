"""A server on this machine that speaks as Open-Meteo does, knows a few cities, and goes wrong when it is told to."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CITIES = {
    "Beijing": "北京", "Shanghai": "上海", "Guangzhou": "广州", "Chengdu": "成都", "Harbin": "哈尔滨", "Paris": "巴黎",
    "London": "伦敦", "Tokyo": "东京", "New York": "纽约", "Sydney": "悉尼", "Oslo": "奥斯陆", "Cairo": "开罗",
    "Madrid": "马德里", "Toronto": "多伦多", "Rome": "罗马",
}  # fmt: skip
CODES = (0, 2, 3, 45, 61, 63, 71, 80, 95)


def served(city: str, day: str) -> tuple[int, int, int]:
    """What the server says of a city, by its English name, and a day: code, lowest and highest temperature."""
    number = zlib.crc32(f"{city} {day}".encode())
    low = number % 31 - 10
    return CODES[number // 31 % len(CODES)], low, low + 4 + number // 400 % 7


@dataclass
class WeatherServer:
    """`trouble`: down (500), slow, malformed, empty; or nothing."""

    url: str = ""
    trouble: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """City and day of each forecast."""
    requests: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        self.requests += 1
        if self.trouble == "down":
            return 500, b"out of order"
        if self.trouble == "slow":
            self.released.wait(10)
        if self.trouble == "malformed":
            return 200, b'{"results": ['
        if self.trouble == "empty":
            return 200, b"{}" if "forecast" in path else _found(query["name"], query["language"])
        if path == "/v1/search":
            return 200, _found(query["name"], query["language"])
        return 200, self._forecast(query)

    def _forecast(self, query: dict[str, str]) -> bytes:
        city, day = list(CITIES)[int(float(query["latitude"]))], query["start_date"]
        self.asked.append((city, day))
        code, low, high = served(city, day)
        values = {"temperature_2m_min": low, "temperature_2m_max": high, "precipitation_probability_max": 20}
        daily = {"time": [day], "weather_code": [code], **{name: [float(one)] for name, one in values.items()}}
        return json.dumps({"timezone": "GMT", "daily": daily}).encode()


def _found(name: str, language: str) -> bytes:
    results: list[dict[str, Any]] = []
    for place, (english, chinese) in enumerate(CITIES.items()):
        if name.casefold() in (english.casefold(), chinese):
            called = chinese if language == "zh" else english
            results.append({"id": place, "name": called, "latitude": place + 0.5, "longitude": 7.25, "country": "X"})
    return json.dumps({"generationtime_ms": 0.1, **({"results": results} if results else {})}).encode()


@contextmanager
def weather_server() -> Iterator[WeatherServer]:
    """It listens on a free port of 127.0.0.1."""
    state = WeatherServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, body = state.answer(parts.path, {name: one[0] for name, one in parse_qs(parts.query).items()})
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that would not wait
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
