"""What transformers itself writes down, in the same way: Whisper's own way through a recording, greedy, with times."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.utils import logging

logging.set_verbosity_error()


class Peer:
    def __init__(self, folder: Path) -> None:
        self.processor = WhisperProcessor.from_pretrained(folder, local_files_only=True)
        self.model = WhisperForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32
        ).eval()

    @torch.inference_mode()
    def written(self, samples: numpy.ndarray[Any, Any], **how: Any) -> str:
        """Of a recording of any length."""
        whole = len(samples) <= self.processor.feature_extractor.n_samples
        given = self.processor.feature_extractor(
            samples, sampling_rate=16_000, return_tensors="pt", truncation=False, return_attention_mask=True,
            padding="max_length" if whole else "longest",
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ids = self.model.generate(
                given.input_features, attention_mask=given.attention_mask, return_timestamps=True, **how
            )
        return str(self.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)[0])
