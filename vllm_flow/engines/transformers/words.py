"""Words: a tokenizer of transformers that says which control tokens it finds, and reads others' texts without any.

transformers can sanitise what it is given for a template, too (`sanitize_control_tokens`, from 5.24 on). It knows
whole control tokens only, not those that texts make together, leaves out characters, and cuts the text around what it
finds, so that a hostile message is read in other tokens than the same letters elsewhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vllm_flow.engines.attribution import Encoded, by_lengths, by_offsets
from vllm_flow.seam.control import control_tokens
from vllm_flow.seam.names import moved
from vllm_flow.seam.seals import SEAL, Place, Seals, check_no_seals, in_pieces, unclear

Offsets = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Read:
    """A text as tokens, and the control tokens among them that it spells."""

    encoded: Encoded
    control: Sequence[Place]


class Words:
    """May be used from several threads."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.seals = Seals(control_tokens(tokenizer), tokenizer.unk_token_id)
        if tokenizer.is_fast:  # as its wrapper sets it before each call, which two threads cannot do at once
            tokenizer.backend_tokenizer.no_truncation()
            tokenizer.backend_tokenizer.no_padding()
            tokenizer.backend_tokenizer.encode_special_tokens = tokenizer.split_special_tokens

    def read(self, text: str, special: bool) -> Read:
        """The text as it stands: control tokens are read by their names. special: with those that are put around it."""
        if not self._tokenizer.is_fast:
            found = self._tokenizer(text, verbose=False, add_special_tokens=special)["input_ids"]
            return Read(self._counted(text, array("q", found), special), self.seals.spelled(text))
        # not by its wrapper, which takes half as long again, and of which some look for words of theirs in the text
        found = self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=special)
        ids, offsets = array("q", found.ids), found.offsets
        return Read(Encoded(text, ids, by_offsets(text, offsets)), list(self._control(text, ids, offsets)))

    def read_sealed(self, sealed: str, special: bool) -> Encoded:
        """What is sealed is read as control tokens, and nothing else is."""
        text = self.seals.unseal(sealed)
        if not self._tokenizer.is_fast:
            ids = in_pieces(self.seals, sealed, self._as_text)
            ids = self._tokenizer.build_inputs_with_special_tokens(ids) if special else ids
            return self._counted(text, array("q", ids), special)
        found = self._moved.encode(sealed, add_special_tokens=special)
        self._check(sealed, found.ids, found.offsets)
        place = self.seals.unsealed_places(sealed)
        offsets = [(place(start), place(end)) for start, end in found.offsets]
        return Encoded(text, array("q", found.ids), by_offsets(text, offsets))

    def read_as_text(self, text: str, special: bool) -> Encoded:
        """Of somebody else: nothing in it is a control token."""
        read = self.read(text, special)
        if not read.control:
            return read.encoded
        check_no_seals(text)
        return self.read_sealed(text, special)

    def found(self, text: str) -> Sequence[Place]:
        """The control tokens that are read in a text."""
        return self.read(text, special=False).control

    @cached_property
    def _moved(self) -> Any:
        return moved(self._tokenizer.backend_tokenizer, self.seals)

    def _control(self, text: str, ids: Sequence[int], offsets: Offsets) -> Iterator[Place]:
        """Some take the spaces around them along, and some are found in a text in other letters than their own."""
        names = self.seals.names
        for place in [place for place, token_id in enumerate(ids) if token_id in names]:
            token_id, (start, stop) = ids[place], offsets[place]
            if start == stop:  # put around the text
                continue
            name = names[token_id]
            at = text.find(name, start, stop)
            if at >= 0:
                yield Place(at, at + len(name), name)
            elif token_id != self.seals.unknown:
                left = len(text[start:stop].lstrip())
                yield Place(stop - left, start + len(text[start:stop].rstrip()), name)

    def _check(self, sealed: str, ids: Sequence[int], offsets: Offsets) -> None:
        """Raises EngineError unless the control tokens in it are those that are sealed."""
        names, unknown = self.seals.names, self.seals.unknown
        wanted = [token_id for _, token_id in self.seals.pieces(sealed) if token_id is not None]
        seal = self.seals.seal(names[unknown]) if unknown is not None and unknown in names else SEAL
        got = [
            token_id
            for token_id, (start, stop) in zip(ids, offsets, strict=True)
            if token_id in names and start < stop and (token_id != unknown or seal in sealed[start:stop])
        ]
        if got != wanted:
            raise unclear(names[next(iter(set(got) ^ set(wanted)), (got or wanted)[0])])

    def _as_text(self, text: str) -> list[int]:
        how = {"add_special_tokens": False, "split_special_tokens": True}
        return list(self._tokenizer.encode(text, verbose=False, **how))

    def _counted(self, text: str, ids: array[int], special: bool) -> Encoded:
        encode: Callable[[str], list[int]] = lambda part: self._tokenizer.encode(  # noqa: E731
            part, add_special_tokens=special, verbose=False
        )
        return Encoded(text, ids, by_lengths(text, len(ids), encode))
