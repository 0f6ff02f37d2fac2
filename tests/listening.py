"""A transcriber for tests: it says which recording it was given, and notes who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.media import Audio
from vllm_flow.core.transcripts import Spoken, Task, Transcript

ASKED: list[tuple[Any, ...]] = []


@dataclass
class Listener:
    """Says which recording it was given, and notes for whom."""

    async def transcribe(
        self, audio: Audio, *, language: str | None = None, task: Task = "transcribe", tenant: str = ""
    ) -> Transcript:
        ASKED.append((audio.source, language, task, tenant))
        await asyncio.sleep(0)
        return heard(audio)

    def describe(self) -> Mapping[str, Any]:
        return {"transcriber": "listener"}

    def close(self) -> None:
        pass


def heard(audio: Audio) -> Transcript:
    return Transcript(audio.digest, audio.source, audio.seconds, "en", (Spoken(0.0, 0.7, f"This is {audio.source}."),))
