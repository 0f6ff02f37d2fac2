"""Pages of the web as context. They come through the web resource: what a page said is recorded, and told again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from vllm_flow.core.pages import Page, Web
from vllm_flow.core.registry import stage
from vllm_flow.core.segments import Item, Place, Segment, Share

HTML = ("text/html", "application/xhtml+xml")
UNSEEN = frozenset({"script", "style", "template", "noscript", "title", "svg"})
"""Of a head, whose end need not be written, no other element has a text."""
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "footer", "h1", "h2",
    "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr",
    "ul",
})  # fmt: skip


@stage("source/web")
@dataclass(frozen=True)
class Pages:
    """Texts from the web, each whole: of HTML what is to be read in it.

    They are fetched in every turn. Only hosts that `web.hosts` lists are asked. A page that cannot be had fails the
    turn.
    """

    urls: tuple[str, ...]
    """In the order in which they are to stand."""
    heading: str = "Pages:"
    place: Place = "last"
    """last: before the question, since a page may have changed; first: before the history."""
    share: Share = field(default_factory=Share)
    """Of the prompt's tokens."""

    def check(self, web: Any) -> Iterator[tuple[tuple[str, ...], str]]:
        if refusal := getattr(web, "refusal", None):
            yield from (((), f"{url}: {problem}") for url in self.urls if (problem := refusal(url)))

    async def run(self, web: Web) -> Segment:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(web.get(url)) for url in self.urls]
        items = tuple(Item(text_of(task.result()), task.result().url) for task in tasks)
        return Segment("documents", items, self.heading, self.place, self.share)


def text_of(page: Page) -> str:
    """What is to be read on a page."""
    if page.media_type not in HTML:
        return page.text.strip()
    reader = _Reader()
    reader.feed(page.text)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.said).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in UNSEEN:
            self._unseen.append(tag)
        elif tag in BLOCKS:
            self.said.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            while self._unseen.pop() != tag:
                pass
        elif tag in BLOCKS:
            self.said.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.said.append(data.replace("\n", " "))
