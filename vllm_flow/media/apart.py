"""MP3 decoded in a process of its own: its decoder writes to stderr whatever it thinks of a file, and stderr is one for
the whole process. Run as a module, this file is that process.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from threading import Timer
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np

BLOCK_FRAMES = 2**16
PATIENCE_S = 300.0
"""An hour of MP3 takes a few seconds."""
SAMPLE_BYTES = 4
UNKNOWN_FORMAT = 7
"""What libsndfile says then is about something else."""


class Apart:
    """Reads like `soundfile.SoundFile`. Raises ValueError when the process cannot decode it."""

    def __init__(self, data: bytes) -> None:
        self._process = subprocess.Popen(  # noqa: S603 this very interpreter, with this very file
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._into, self._from = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._timer = Timer(PATIENCE_S, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        try:
            head = self._head(data)
        except BaseException:
            self.close()
            raise
        self.format, self.samplerate, self.channels = str(head["format"]), int(head["rate"]), int(head["channels"])
        self.frames = int(head["frames"])

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, frames: int, dtype: str, always_2d: bool = True) -> np.ndarray[Any, Any]:
        """Of shape (frames, channels). Fewer than asked for at the end."""
        import numpy as np

        wide = SAMPLE_BYTES * self.channels
        got = self._from.read(frames * wide)
        if len(got) < frames * wide and self._process.wait():
            raise ValueError("its decoder gave up")
        return np.frombuffer(got, "<f4").reshape(-1, self.channels).astype(dtype)

    def close(self) -> None:
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        self._from.close()
        with suppress(OSError):  # it wants to write what the process did not take
            self._into.close()

    def _head(self, data: bytes) -> dict[str, Any]:
        with suppress(OSError):  # it ended before it had read all
            self._into.write(data)
            self._into.close()
        line = self._from.readline()
        if not line.endswith(b"\n"):
            raise ValueError("its decoder gave up")
        head: dict[str, Any] = json.loads(line)
        if "error" in head:
            raise ValueError(head["error"])
        return head


def main(data: bytes, out: IO[bytes]) -> None:
    """A line of JSON, then the samples: float32, little-endian, channel by channel."""
    import soundfile

    from vllm_flow.media.forwards import Forwards

    try:
        opened = Forwards(io.BytesIO(data))
    except soundfile.LibsndfileError as error:
        why = "there is no such frame in it" if error.code == UNKNOWN_FORMAT else error.error_string
        out.write(json.dumps({"error": why}).encode() + b"\n")
        return
    facts = {"rate": opened.samplerate, "channels": opened.channels, "frames": opened.frames}
    out.write(json.dumps({"format": opened.format, **facts}).encode() + b"\n")
    while len(block := opened.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        out.write(block.astype("<f4").tobytes())


if __name__ == "__main__":
    main(sys.stdin.buffer.read(), sys.stdout.buffer)
