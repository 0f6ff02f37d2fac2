"""What can be set on the embedder: which folder its model is in. The folder is looked for when it opens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vllm_flow.core.embedding import Embedder
from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import resource
from vllm_flow.models.folders import folder_with
from vllm_flow.models.packages import EMBEDDERS
from vllm_flow.models.pull import pull

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")


@resource("embedder/transformers", shared=True)
@dataclass(frozen=True)
class Sentences:
    """A sentence-embedding model in this process: the last hidden states pooled to one vector of length 1.

    It reads folders as sentence-transformers writes them, of models that transformers knows, pooled by the mean or by
    the first token. A text longer than the model's window is read window by window, and the mean goes over all of them.
    """

    package: str | None = None
    """From the package index, by the name it has in `vllm-flow models ls`."""
    path: str | None = None
    """A folder with config.json, tokenizer.json and model.safetensors; counts more than `package`."""
    before_questions: str = ""
    """What the model wants to read before a question, such as `query: `."""
    before_passages: str = ""
    """What it wants to read before a text that may hold the answer, such as `passage: `."""
    kept: bool = True
    """Whether vectors of documents are kept in the user's cache, so that the next run need not make them again."""
    remembered: Annotated[int, at_least(0)] = 20_000
    """How many texts' vectors stay in memory: what has been embedded once is not embedded again."""

    def problems(self) -> Iterator[OptionProblem | str]:
        if self.path is None and self.package is None:
            yield f"nothing says where the weights are. Give package ({listed(EMBEDDERS)}) or path."
        elif self.path is None and self.package not in EMBEDDERS:
            close = nearest(self.package, EMBEDDERS)
            problem = f"there is no packaged embedder '{self.package}'.{close} There are: {listed(EMBEDDERS)}."
            yield OptionProblem(("package",), problem)

    def open(self) -> Embedder:
        """Raises ModelError."""
        from vllm_flow.embedders.sentences import SentenceEmbedder

        folder, where = self._folder()
        return SentenceEmbedder(self, folder, where)

    def _folder(self) -> tuple[Path, str]:
        if self.path is None:
            return pull(str(self.package)), f"embedder.package: {self.package}"
        where = f"embedder.path: {self.path}"
        return folder_with(where, self.path, NEEDED), where
