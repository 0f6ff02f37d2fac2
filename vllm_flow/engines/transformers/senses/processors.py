"""Processors: what makes a model's inputs of media, loaded without what only videos need.

transformers has no video processor without torchvision, and the processors of models that also read videos insist on
one. Nothing here reads videos, so such a processor is loaded as a class of its own that has none.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.utils import cached_file

FILES = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
"""Where a model says which processor it has, the first that does."""
VIDEO = "video_processor"


def read_processor(place: str, config: Any, **how: Any) -> Any:
    """Of the model at a folder, or of this name at the hub. how: as `from_pretrained` takes it, and raises."""
    kind = _named(place, **how) or PROCESSOR_MAPPING[type(config)]
    if kind.get_attributes()[-1] == VIDEO:
        kind = without_video(kind)
    processor = kind.from_pretrained(place, trust_remote_code=False, backend="pil", **how)
    processor.tokenizer.chat_template = processor.chat_template or processor.tokenizer.chat_template
    return processor


def _named(place: str, **how: Any) -> Any:
    """The class that the model's files name; None where they name none that transformers has."""
    for name in FILES:
        file = cached_file(place, name, _raise_exceptions_for_missing_entries=False, **how)
        if file is not None:
            with open(file, encoding="utf-8") as text:
                said = json.load(text).get("processor_class")
            if said and (found := processor_class_from_name(said)) is not None:
                return found
    return None


def without_video(kind: Any) -> Any:
    """The same processor, which has no video processor, and loads none."""
    place = kind.get_attributes().index(VIDEO)

    class WithoutVideo(kind):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [one for one in super().get_attributes() if one != VIDEO]

        @classmethod
        def _get_arguments_from_pretrained(cls, *given: Any, **how: Any) -> list[Any]:
            found: list[Any] = super()._get_arguments_from_pretrained(*given, **how)
            return [*found[:place], None, *found[place:]]

    WithoutVideo.__name__ = kind.__name__  # by which it is saved
    module = sys.modules[kind.__module__]
    if getattr(module, "num2words", str) is None:
        module.num2words = str  # type: ignore[attr-defined]  # SmolVLM's constructor asks for it; only videos use it
    return WithoutVideo
