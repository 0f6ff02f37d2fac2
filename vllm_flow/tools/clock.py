"""The clock: what day it is, and what time, here or elsewhere."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from vllm_flow.core.errors import ToolError
from vllm_flow.core.registry import tool
from vllm_flow.core.resources import Clock


@tool
def clock(clock: Clock, zone: str | None = None) -> str:
    """The current date, weekday, time and time zone.

    Args:
        zone: An IANA time zone such as Asia/Shanghai; left out, that of the clock.
    """
    now = clock.now()
    if zone is not None:
        try:
            now = now.astimezone(ZoneInfo(zone))
        except (KeyError, ValueError, OSError):
            raise ToolError(f"there is no time zone '{zone}'. Write an IANA name such as Asia/Shanghai") from None
    where = getattr(now.tzinfo, "key", None) or now.tzname()
    return f"{now:%A}, {now.day} {now:%B %Y}, {now:%H:%M} ({where}, {now.isoformat(timespec='seconds')})"
