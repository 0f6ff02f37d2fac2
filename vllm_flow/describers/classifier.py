"""The classifier, live: one picture at a time, so that its labels do not depend on the pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from vllm_flow.core.describing import Tag
from vllm_flow.core.media import Image
from vllm_flow.describers.looking import Looking
from vllm_flow.models.digest import digests
from vllm_flow.models.quiet import reading

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from vllm_flow.describers.taggers import Classifier


class PictureTagger:
    def __init__(self, options: Classifier, place: Path | str, where: str) -> None:
        """place: a folder, or a name on the hub. Raises ModelError."""
        self._options, self._place = options, place
        self._model, self._processor = _loaded(place, options.revision, where)
        self._labels: Mapping[int, str] = self._model.config.id2label
        self._looking = Looking("tagger", self._tags, options.remembered)

    async def tags(self, image: Image, *, tenant: str = "") -> tuple[Tag, ...]:
        return await self._looking(image, tenant)

    def describe(self) -> Mapping[str, Any]:
        options = self._options
        name = Path(self._place).name if options.path is not None else options.hub or options.package
        return {
            "tagger": "transformers",
            "model": name,
            "labels": len(self._labels),
            **(digests(self._place) if isinstance(self._place, Path) else {"revision": self._options.revision}),
        }

    def close(self) -> None:
        self._looking.close()

    @torch.inference_mode()
    def _tags(self, picture: Picture) -> tuple[Tag, ...]:
        read = self._processor(images=picture, return_tensors="pt")
        probabilities = self._model(**read).logits[0].float().softmax(-1)
        order = sorted(range(len(probabilities)), key=lambda place: (-float(probabilities[place]), place))
        return tuple(Tag(self._labels[place], float(probabilities[place])) for place in order[: self._options.most])


def _loaded(place: Path | str, revision: str | None, where: str) -> tuple[Any, Any]:
    given = {"local_files_only": isinstance(place, Path), **({"revision": revision} if revision else {})}
    with reading(where, "Give a classifier of pictures as transformers saves it."):
        model = AutoModelForImageClassification.from_pretrained(
            place, use_safetensors=True, dtype=torch.float32, **given
        )
        # Pillow's, whatever else is installed: another library's pixels differ in the last bits
        processor = AutoImageProcessor.from_pretrained(place, backend="pil", **given)
    return model.eval(), processor
