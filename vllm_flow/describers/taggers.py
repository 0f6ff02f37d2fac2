"""What can be set on taggers: which classifier it is. Its folder is looked for when it opens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vllm_flow.core.describing import Tagger
from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import resource
from vllm_flow.models.folders import folder_with
from vllm_flow.models.packages import TAGGERS
from vllm_flow.models.pull import pull

NEEDED = ("config.json", "model.safetensors", "preprocessor_config.json")


@resource("tagger/transformers", shared=True)
@dataclass(frozen=True)
class Classifier:
    """Labels of what pictures show, by a classifier of pictures in this process that transformers knows."""

    package: str | None = None
    """From the package index, by the name it has in `vllm-flow models ls`."""
    path: str | None = None
    """A folder with config.json, preprocessor_config.json and model.safetensors; counts more than the others."""
    hub: str | None = None
    """A model of the Hugging Face hub, such as `google/vit-base-patch16-224`; counts more than `package`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null: its main branch."""
    most: Annotated[int, at_least(1)] = 20
    """How many labels are given of a picture; the most probable ones."""
    remembered: Annotated[int, at_least(0)] = 10_000
    """Of how many pictures the labels are remembered: what has been looked at once is not looked at again."""

    def problems(self) -> Iterator[OptionProblem | str]:
        if self.path is not None or self.hub is not None:
            return
        if self.package is None:
            yield f"nothing says where the weights are. Give package ({listed(TAGGERS)}), path or hub."
        elif self.package not in TAGGERS:
            close = nearest(self.package, TAGGERS)
            problem = f"there is no packaged tagger '{self.package}'.{close} There are: {listed(TAGGERS)}."
            yield OptionProblem(("package",), problem)

    def open(self) -> Tagger:
        """Raises ModelError."""
        from vllm_flow.describers.classifier import PictureTagger

        return PictureTagger(self, *self._place())

    def _place(self) -> tuple[Path | str, str]:
        """The folder or the name on the hub, and what an error calls it."""
        if self.path is None and self.hub is not None:
            return self.hub, f"tagger.hub: {self.hub}"
        if self.path is None:
            return pull(str(self.package)), f"tagger.package: {self.package}"
        where = f"tagger.path: {self.path}"
        return folder_with(where, self.path, NEEDED), where
