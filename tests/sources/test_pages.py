"""Pages of the web as context: what is to be read in them, and that a run told again asks no server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.web.pages import PAGES, serving
from vllm_flow.core.calls import Calls
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.messages import user
from vllm_flow.core.pages import Page
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.runner import Runner
from vllm_flow.core.segments import Item
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn
from vllm_flow.replay.again import Recalled
from vllm_flow.sources.pages import text_of

HTML = """<!DOCTYPE html><html><head><title>T</title><style>p {}</style></head><body>
<nav><ul><li>Home<li>About</ul></nav><script>alert("<p>no</p>")</script>
<h1>Opening &amp; closing</h1><p>We open at <b>nine</b>
each   day.</p>Not on Sundays.<br>Nor at <noscript>no</noscript>night</body></html>"""


def spec(port: int, *paths: str, **web: Any) -> RunSpec:
    base = f"http://localhost:{port}"
    resources = {"web": {"use": "web/http", "hosts": [base], "private": True, **web}}
    graph = {"found": {"use": "source/web", "urls": [f"{base}{path}" for path in paths]}}
    return RunSpec("x", graph, "found", resources=resources)


def ran(given: RunSpec, recall: Any = None) -> tuple[Any, list[dict[str, Any]]]:
    """The result, and what was recorded of it."""
    rows: list[dict[str, Any]] = []

    async def run() -> Any:
        calls = Calls(lambda row, _: rows.append(json.loads(json.dumps(row))))
        runner = Runner(given, observers=(calls,), recall=recall)
        (found,) = [one async for one in runner.run([Turn("c", user("hi"))])]
        return found

    return asyncio.run(run()), rows


def test_of_html_what_is_to_be_read_is_kept() -> None:
    assert text_of(Page("", "text/html", HTML)) == (
        "Home\nAbout\nOpening & closing\nWe open at nine each day.\nNot on Sundays.\nNor at night"
    )
    assert text_of(Page("", "text/plain", " <b>as it is</b>\n")) == "<b>as it is</b>"


def test_a_head_need_not_be_ended() -> None:
    for html in ("<head><title>T</title><body><p>Nine.", "<head><meta charset=utf-8><title>T</title><p>Nine."):
        assert text_of(Page("", "text/html", html)) == "Nine."


def test_pages_come_in_order_and_a_run_told_again_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAGES, "/open", (200, {"Content-Type": "text/html"}, HTML.encode()))
    with serving() as server:
        given = spec(server.port, "/open", "/moved")
        result, rows = ran(given)
        base = f"http://localhost:{server.port}"
    first = Item(text_of(Page("", "text/html", HTML)), f"{base}/open")
    assert result.value.items == (first, Item("你好", f"{base}/hello"))
    assert [call["value"]["asked"] for call in rows[0]["calls"]] == [f"{base}/open", f"{base}/moved"]
    again, _ = ran(given, Recalled({0: rows[0]}))  # the server is gone
    assert again == result
    gone, _ = ran(given)
    assert gone.failure.kind == "WebError"


def test_what_went_wrong_is_told_again_and_nobody_is_asked_for_another_page(tmp_path: Path) -> None:
    with serving() as server:
        given = spec(server.port, "/none")
        result, rows = ran(given)
        url = f"http://localhost:{server.port}/none"
        told = f"graph.found (source/web): {url}: the server answered 404 Not Found. Look there."
        assert (result.failure.kind, result.failure.message) == ("WebError", told)
        asked = len(server.asked)
        again, _ = ran(given, Recalled({0: rows[0]}))
        assert (again, len(server.asked)) == (result, asked)
        other, _ = ran(spec(server.port, "/hello"), Recalled({0: rows[0]}))
        hello = f"http://localhost:{server.port}/hello"
        assert other.failure.message == (
            f"graph.found (source/web): {hello}: the recorded run did not ask for this, so nobody was asked."
        )
        assert len(server.asked) == asked


def test_an_address_that_may_not_be_asked_is_found_by_check() -> None:
    with pytest.raises(ConfigError) as told:
        Pipeline.build(spec(80, "/x", hosts=["example.org"]))
    right = "Add it to resources.web.hosts, which has: example.org."
    assert str(told.value) == f"graph.found: http://localhost:80/x: http://localhost is not allowed. {right}"
