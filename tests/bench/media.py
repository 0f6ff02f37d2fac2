"""What the gate takes: memory and time of a picture of 40 megapixels and of a recording of 600 seconds, by format.

    python tests/bench/media.py

Each file is read in a process of its own. Memory is the most that it had (VmHWM of /proc, so on Linux only) beyond what it
has after importing the decoders; the file itself and the value made of it are part of that. An MP3 is decoded in a
further process, whose memory, imports included, stands beside it. Pictures are noise over a gradient and recordings noise
under tones, which no format shrinks to nothing.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.JpegImagePlugin
import PIL.PngImagePlugin
import PIL.WebPImagePlugin
import soundfile

from vllm_flow.media import read_medium

IMPORTED = (PIL.JpegImagePlugin, PIL.PngImagePlugin, PIL.WebPImagePlugin, soundfile)
WIDTH, HEIGHT = 8000, 5000
SECONDS, RATE_HZ = 600, 48_000
MB = 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'file':<20}{'file MB':>9}{'value MB':>10}{'peak MB':>9}{'beside MB':>11}{'s':>7}")
        for path in (*_pictures(Path(folder)), *_recordings(Path(folder))):
            done = subprocess.run([sys.executable, __file__, path], capture_output=True, text=True, check=True)
            got = json.loads(done.stdout)
            sizes = f"{path.stat().st_size / MB:>9.1f}{got['value']:>10.1f}"
            print(f"{path.name:<20}{sizes}{got['peak']:>9.0f}{got['beside']:>11.0f}{got['seconds']:>7.1f}", flush=True)


def _pictures(folder: Path) -> list[Path]:
    chance = np.random.default_rng(0)
    slope = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH))[..., None] // np.array([60, 80, 100])
    shown = PIL.Image.fromarray((slope + chance.integers(0, 16, slope.shape)).astype(np.uint8))
    clear = shown.copy()
    clear.putalpha(200)
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    paths = [folder / name for name in ("rgb.png", "alpha.png", "turned.jpg", "lossy.webp")]
    shown.save(paths[0], compress_level=1)
    clear.save(paths[1], compress_level=1)
    shown.save(paths[2], quality=90, exif=turned)
    shown.save(paths[3], quality=80, method=0)
    return paths


def _recordings(folder: Path) -> list[Path]:
    chance = np.random.default_rng(0)
    times = np.arange(SECONDS * RATE_HZ, dtype=np.float32) / RATE_HZ
    tone = 0.2 * np.sin(2 * np.pi * 440 * times)
    heard = np.stack([tone, tone / 2], 1) + chance.normal(0, 0.02, (len(times), 2)).astype(np.float32)
    made = {"16 bit.wav": "PCM_16", "24 bit.wav": "PCM_24", "16 bit.flac": "PCM_16", "vorbis.ogg": "VORBIS"}
    made |= {"layer 3.mp3": "MPEG_LAYER_III", "16 kHz mono.wav": "PCM_16"}
    for name, subtype in made.items():
        mono = name.startswith("16 kHz")
        with soundfile.SoundFile(folder / name, "w", 16_000 if mono else RATE_HZ, 1 if mono else 2, subtype) as file:
            for start in range(0, len(heard) // (3 if mono else 1), RATE_HZ):  # Vorbis fails on all at once
                file.write(heard[start : start + RATE_HZ, 0] if mono else heard[start : start + RATE_HZ])
    return [folder / name for name in made]


def _read(path: Path) -> dict[str, Any]:
    before, start = _most(), time.perf_counter()
    medium = read_medium(path, [path.parent])
    seconds = time.perf_counter() - start
    beside = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / MB
    return {"peak": _most() - before, "beside": beside, "seconds": seconds, "value": len(medium.data or b"") / MB}


def _most() -> float:
    line = next(one for one in Path("/proc/self/status").read_text("ascii").splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / MB


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_read(Path(sys.argv[1]))))
    else:
        main()
