"""Retention: conversations in which nothing was said for `keep_days` go.

Whoever sets it means it for good, so it does not wait for somebody to think of it: opening the store applies it, and
says in the log what went. `vllm-flow context prune --dry-run` tells beforehand.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from vllm_flow.core.archive import Archive, Conversation

log = logging.getLogger("vllm_flow")


def expired(archive: Archive, before: datetime) -> tuple[Conversation, ...]:
    """Those that were written before that moment and not since."""
    return tuple(one for one in archive.conversations() if one.written < before)


def prune(archive: Archive, before: datetime) -> tuple[Conversation, ...]:
    """Delete them, and say which. One that is written meanwhile stays."""
    return tuple(one for one in expired(archive, before) if archive.delete(one.name, before))


def days_ago(days: float) -> datetime:
    """That moment, in UTC; the earliest there is, if it was before that."""
    try:
        return datetime.now(UTC) - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def quiet_for(days: float) -> str:
    """What is true of what is deleted."""
    return f"nothing was said for {days:g} day{'' if days == 1 else 's'}"


def expire(archive: Archive, keep_days: float, where: str) -> None:
    """Delete what is too old, and say so."""
    if gone := prune(archive, days_ago(keep_days)):
        names = ", ".join(one.name for one in gone)
        log.warning("%s: deleted, since %s (store.keep_days): %s", where, quiet_for(keep_days), names)
