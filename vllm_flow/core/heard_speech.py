"""What a stage was told of a recording: recorded, to be told again without a model.

A transcriber may be asked anew when a turn is told again and goes another way: it does nothing but listen.
"""

from __future__ import annotations

from collections.abc import Mapping

from vllm_flow.core.heard import Bound
from vllm_flow.core.media import Audio
from vllm_flow.core.transcript_json import transcript_from_json, transcript_to_json
from vllm_flow.core.transcripts import Task, Transcript


class BoundTranscriber(Bound):
    """A transcriber as one node sees it, for the turn's own tenant."""

    method = "transcribe"

    async def transcribe(
        self, audio: Audio, *, language: str | None = None, task: Task = "transcribe", tenant: str = ""
    ) -> Transcript:
        then, place = self._then(), len(self.said)
        asked = {"audio": audio.digest, "language": language, "task": task}
        self.said.append(None)
        if isinstance(then, Mapping) and then.get("asked") == asked:
            transcript = transcript_from_json(then["transcript"])
        else:
            transcript = await self._live.transcribe(audio, language=language, task=task, tenant=self._turn.tenant)
        self.said[place] = {"asked": asked, "transcript": transcript_to_json(transcript)}
        return transcript
