"""A page of the web, for a model to read. Which hosts it may be from, `resources.web` says, and guards."""

from __future__ import annotations

from vllm_flow.core.pages import Web
from vllm_flow.core.registry import tool


@tool
async def page(url: str, web: Web) -> str:
    """The text of a web page, by a GET.

    Args:
        url: The whole address, such as https://example.org/page.
    """
    return (await web.get(url)).text
