"""What a stage was told of a recording: recorded, to be told again without a model.

A transcriber may be asked anew when a turn is told again and goes another way: it does nothing but listen.
"""

from __future__ import annotations

from typing import Any

from vllm_flow.core.heard_media import BoundDescriber
from vllm_flow.core.media import Audio
from vllm_flow.core.transcript_json import transcript_from_json, transcript_to_json
from vllm_flow.core.transcripts import Task, Transcript


class BoundTranscriber(BoundDescriber):
    """A transcriber as one node sees it, for the turn's own tenant."""

    method = "transcribe"

    async def transcribe(
        self, audio: Audio, *, language: str | None = None, task: Task = "transcribe", tenant: str = ""
    ) -> Transcript:
        async def live() -> Any:
            found = await self._live.transcribe(audio, language=language, task=task, tenant=self._turn.tenant)
            return transcript_to_json(found)

        asked = {"audio": audio.digest, "language": language, "task": task}
        return transcript_from_json(await self._told(asked, live))
