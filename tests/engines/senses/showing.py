"""Prompts with media, and what transformers itself says to them."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForMultimodalLM

from tests.tiny_media import RATE
from vllm_flow.core.media import Audio, Image, Medium
from vllm_flow.core.messages import Message, Text, assistant
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request
from vllm_flow.engines.transformers.row import Job
from vllm_flow.engines.transformers.senses.processors import read_processor
from vllm_flow.media import pixels, samples

LONG = "The sea was calm that morning, and nobody on the quay would have thought of a storm. "


def said(*parts: str | Medium) -> Message:
    return Message("user", tuple(Text(one) if isinstance(one, str) else one for one in parts))


def asked(*messages: Message | str) -> Prompt:
    """The user's messages, and the answers between them as texts."""
    return Prompt(tuple(assistant(one) if isinstance(one, str) else one for one in messages))


def job(prompt: Prompt, tokens: int = 12, **sampling: Any) -> Job:
    how = Schedule(Sampling(**{"temperature": 0, "max_tokens": tokens, **sampling}))
    return Job(Request(prompt, how), loop=None)  # type: ignore[arg-type]  # nobody waits


class Direct:
    """The same model, called as transformers' documentation says."""

    def __init__(self, folder: Any) -> None:
        self.model = AutoModelForMultimodalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        self.processor = read_processor(str(folder), self.model.config, local_files_only=True)

    def inputs(self, prompt: Prompt) -> Any:
        """The template's text and all the media, given to the processor at once."""
        messages = [
            {"role": one.role, "content": [
                {"type": part.kind} if isinstance(part, Medium) else {"type": "text", "text": part.text} for part in one.parts
            ]}
            for one in prompt.messages
        ]  # fmt: skip
        text = self.processor.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        media = [medium for one in prompt.messages for medium in one.media]
        images, sounds = ([one for one in media if isinstance(one, kind)] for kind in (Image, Audio))
        given: dict[str, Any] = {"images": [pixels(one) for one in images]} if images else {}
        if sounds:
            given |= {"audio": [samples(one, RATE) for one in sounds], "sampling_rate": RATE}
        return self.processor(text=[text], return_tensors="pt", add_special_tokens=False, **given)

    def answer(self, prompt: Prompt, tokens: int = 12) -> list[int]:
        given = self.inputs(prompt)
        found = self.model.generate(**given, max_new_tokens=tokens, do_sample=False)
        return found[0, given["input_ids"].shape[1] :].tolist()
