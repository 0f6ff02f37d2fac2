"""Prefill: which pieces of prompts are read at a step, and what the prefix cache has of them already."""

from __future__ import annotations

from torch import Tensor

from vllm_flow.engines.transformers.loaded import Reads, Span, pieces
from vllm_flow.engines.transformers.prefix import Keys, Node, PrefixCache
from vllm_flow.engines.transformers.row import Reading


class Prefill:
    """What is being read, in the order in which it came."""

    def __init__(self, network: Reads, step_tokens: int, prefix_bytes: int) -> None:
        self.rows: list[Reading] = []
        self._network = network
        self._chunk = network.chunk
        self._step_tokens = step_tokens
        self._prefixes = PrefixCache(prefix_bytes)
        self._lengthens = True
        """Whether a step reads several pieces of a prompt."""
        self._awaited: dict[Reading, Tensor | None] = {}
        """Rows that read what others wait for, and their logits once they have read it."""

    def begin(self, row: Reading) -> None:
        owner = row.job.request.tenant, row.job.request.adapter
        row.begin(self._network.sequence(len(row.tokens)), self._prefixes.root(owner))
        self.rows.append(row)

    def leave(self, row: Reading) -> None:
        self.rows.remove(row)
        self._awaited.pop(row, None)

    def awaited(self, row: Reading) -> bool:
        """Whether it draws at the next step, with those that asked the same: so they go on together."""
        return row in self._awaited

    def plan(self, *, hurried: bool) -> tuple[dict[Reading, Span], dict[Reading, Tensor]]:
        """What is to be read now; and the logits after the prompts that the prefix cache knows to their end.

        A piece that another row reads in this step is left for the next, where the prefix cache has it.

        hurried: whether somebody waits for a next token: then nobody reads more than one piece, nor when the prompt of
        some row is known or ends in this step.
        """
        spans: dict[Reading, Span] = {}
        known: dict[Reading, Tensor] = {}
        claimed: dict[tuple[Node, Keys], Reading] = {}
        left = self._step_tokens
        for row in self.rows:
            if (logits := self._known(row)) is not None:
                known[row] = logits
                continue
            span = row.piece(self._chunk)
            keys = row.keys(span.tokens, row.sequence.length)
            alone = self._chunk is None or span.every
            if not alone and (reader := claimed.setdefault((row.node, keys), row)) is not row:
                if not (reader.every or row.every) and reader.keys(reader.tokens, 0) == row.keys(row.tokens, 0):
                    self._awaited[reader] = None
                continue
            if left > 0:
                left -= len(span.tokens)
                spans[row] = span
                self._note_stop(row, keys)
        ends = (row.sequence.length + len(span.tokens) == len(row.tokens) for row, span in spans.items())
        if self._chunk is None or not self._lengthens or hurried or known or any(ends):
            return spans, known
        return self._lengthened(spans, self._chunk, left), known

    def shortened(self, row: Reading, span: Span) -> bool:
        """Whether a span that could not be read has several pieces: it is tried again with one, as all are from now on.

        There may be memory for one.
        """
        if self._chunk is None or len(span.tokens) <= len(row.piece(self._chunk).tokens):
            return False
        self._lengthens = False
        return True

    def keep(self, row: Reading, span: Span, logits: Tensor) -> None:
        """Remember the pieces that a row has read, and the logits [1, vocab] if they are those after its prompt."""
        if self._chunk is not None and not span.every:
            length = row.sequence.length
            for start, end in pieces(length - len(span.tokens), length, self._chunk):
                keys = row.keys(row.tokens[start:end], start)
                after = logits[0].clone() if end == len(row.tokens) else None
                row.node = self._prefixes.add(row.node, keys, row.sequence.copied(start, end), after)
            if row.read and row in self._awaited:
                self._awaited[row] = logits[0]

    @staticmethod
    def _lengthened(spans: dict[Reading, Span], chunk: int, left: int) -> dict[Reading, Span]:
        """Those that came first read more pieces, as long as some of the step's tokens are left.

        The more tokens a call has, the less time each token takes; every piece is read as it would be by itself.
        """
        longer: dict[Reading, Span] = {}
        for row, span in spans.items():
            longer[row] = row.piece(chunk, 1 + max(0, left) // chunk)
            left -= len(longer[row].tokens) - len(span.tokens)
        return longer

    def _known(self, row: Reading) -> Tensor | None:
        """The logits after all its tokens, if they need not be read."""
        known = self._awaited.pop(row, None)
        return self._remembered(row) if known is None else known

    def _note_stop(self, row: Reading, piece: Keys) -> None:
        """Where the first piece that a row must read itself departs from all that is remembered."""
        if self._chunk is not None and row.reuse_stopped_at is None:
            row.reuse_stopped_at = row.sequence.length + self._prefixes.alike(row.node, piece)

    def _remembered(self, row: Reading) -> Tensor | None:
        """Take over what the prefix cache knows of a row's tokens; the logits after them if that is all of them."""
        while self._chunk is not None:
            span = row.piece(self._chunk)
            last = row.sequence.length + len(span.tokens) == len(row.tokens)
            keys = row.keys(span.tokens, row.sequence.length)
            node = None if span.every else self._prefixes.find(row.node, keys, logits=last)
            if node is None:
                return None
            row.sequence.append(node.pieces)
            row.cached_tokens += len(span.tokens)
            row.node = node
            if last:
                return node.logits
        return None
