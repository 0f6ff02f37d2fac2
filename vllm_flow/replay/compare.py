"""Compare: two records side by side, from the configuration down to the answers.

Rows are paired by what was asked: conversation, turn, and which of several tries. Metrics are not computed here: the
command asks `report` for them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from re import findall
from typing import Any

from vllm_flow.core.differences import ABSENT, differences
from vllm_flow.core.errors import FlowError
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.record_rows import text_in
from vllm_flow.core.recorded import Recorded, Row
from vllm_flow.replay.courses import parting

EXAMPLES = 3
Pairs = list[tuple[Row, Row]]
Calls = dict[int, Row]
WORDS = r"\s+|\w+|[^\w\s]"


@dataclass(frozen=True, slots=True)
class KeyDifference:
    """A value of the configuration, or a fact about the run, as JSON; with where it was written, if that is known."""

    key: str
    first: str
    second: str
    first_origin: str = ""
    second_origin: str = ""


@dataclass(frozen=True, slots=True)
class StageDifference:
    """The first value that differs, by turns and within a turn by the graph."""

    node: str
    """Empty when the turns themselves are others."""
    use: str
    conversation: str
    turn: int | None
    inputs: tuple[str, ...]
    """Those of its inputs that differ: given to the graph, since no value before differs. Empty: they are equal, and
    the difference is in its options, its code or what it reads from outside."""


@dataclass(frozen=True, slots=True)
class CourseDifference:
    """The first sampling parameter that had another value at one of its answer's tokens."""

    node: str
    conversation: str
    turn: int | None
    parameter: str
    token: int
    """From 0, in the answer."""
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Example:
    conversation: str
    turn: int | None
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    keys: tuple[KeyDifference, ...]
    facts: tuple[KeyDifference, ...]
    """Commit, versions, weights and what else a record says of a run."""
    stage: StageDifference | None
    course: CourseDifference | None
    paired: int
    unpaired: tuple[int, int]
    """Rows that only the first, or only the second, has."""
    differing: int
    """How many of the pairs have another output."""
    examples: tuple[Example, ...]

    @property
    def equal_outputs(self) -> bool:
        return not self.differing and not any(self.unpaired)


def compare(first: Recorded, second: Recorded) -> Comparison:
    """Raises RecordError when a file of either is not as it was written."""
    pairs, unpaired = _paired(first, second)
    others = [(one, other) for one, other in pairs if _output(one) != _output(other)]
    calls = first.calls(), second.calls()
    return Comparison(
        tuple(_keys(first, second)),
        tuple(_facts(first, second)),
        _stage(first, second, pairs, calls),
        _course(pairs, calls),
        len(pairs),
        unpaired,
        len(others),
        tuple(Example(one["conversation"], one["turn"], _text(one), _text(other)) for one, other in others[:EXAMPLES]),
    )


def _keys(first: Recorded, second: Recorded) -> Iterator[KeyDifference]:
    for key, old, new in _differing(first.spec.content(), second.spec.content()):
        yield KeyDifference(key, old, new, *(_origin(record, key) for record in (first, second)))


def _differing(first: Any, second: Any) -> Iterator[tuple[str, str, str]]:
    """Dotted key and both values, as JSON. An empty table where the other has keys is told by these."""
    found = {".".join(path): pair for path, pair in differences(first, second).items()}
    for key, (old, new) in found.items():
        if "{}" not in (old, new) or not any(other.startswith(f"{key}.") for other in found):
            yield key, old, new


def _origin(record: Recorded, key: str) -> str:
    """Where the value, or the nearest thing around it, was written."""
    origins = record.run.get("origins", {})
    while key and key not in origins:
        key = key.rpartition(".")[0]
    return str(origins.get(key, ""))


def _facts(first: Recorded, second: Recorded) -> Iterator[KeyDifference]:
    for key, old, new in _differing(_said(first.run), _said(second.run)):
        yield KeyDifference(key, old, new)


def _said(run: Mapping[str, Any]) -> dict[str, Any]:
    return {name: run.get(name) or {} for name in ("git", "versions", "resources")} | {
        "platform": run.get("platform"),
        "status": run.get("status"),
    }


def _paired(first: Recorded, second: Recorded) -> tuple[Pairs, tuple[int, int]]:
    one, other = (_by_asking(record) for record in (first, second))
    common = [key for key in one if key in other]
    return [(one[key], other[key]) for key in common], (len(one) - len(common), len(other) - len(common))


def _by_asking(record: Recorded) -> dict[tuple[Any, ...], Row]:
    tries: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    found = {}
    for row in record.results():
        key = (row["conversation"], row["turn"])
        found[*key, tries[key]] = row
        tries[key] += 1
    return found


def _output(row: Row) -> Any:
    value = row["value"]
    if isinstance(value, dict):  # an equal answer to a longer prompt is an equal answer
        value = {name: item for name, item in value.items() if name != "usage"}
    return value, row["failure"]


def _text(row: Row) -> str:
    if row["failure"]:
        return f"(failed: {row['failure']['message']})"
    return text_in(row["value"]) or str(row["value"])


def _stage(first: Recorded, second: Recorded, pairs: Pairs, calls: tuple[Calls, Calls]) -> StageDifference | None:
    before, after = calls
    for one, other in pairs:
        asked = ("message", "history")
        if [one.get(name) for name in asked] != [other.get(name) for name in asked]:
            return StageDifference("", "", one["conversation"], one["turn"], ("turn",))
        old, new = before.get(one["index"]), after.get(other["index"])
        if old is not None and new is not None and (node := _first_value(old["values"], new["values"])):
            use = _use(first, node) or _use(second, node)
            return StageDifference(node, use, one["conversation"], one["turn"], tuple(_given(first, second, node)))
    return None


def _course(pairs: Pairs, calls: tuple[Calls, Calls]) -> CourseDifference | None:
    for one, other in pairs:
        rows = calls[0].get(one["index"]), calls[1].get(other["index"])
        first, second = ({_request(call): call for call in row["calls"]} if row else {} for row in rows)
        for request in (asked for asked in first if asked in second and asked[1] == "generate"):
            if found := parting(first[request], second[request]):
                where = request[0], one["conversation"], one["turn"]
                return CourseDifference(*where, found.parameter, found.token, found.first, found.second)
    return None


def _request(call: Row) -> tuple[Any, ...]:
    return call["node"], call["method"], call.get("sample")


def _first_value(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    return next((node for node in dict.fromkeys([*old, *new]) if old.get(node, ABSENT) != new.get(node, ABSENT)), None)


def _given(first: Recorded, second: Recorded, node: str) -> Iterator[str]:
    """What a node reads that is no other node's value, and is configured otherwise."""
    try:
        graph = Pipeline.build(first.spec).graph
    except FlowError:  # the code of that run is no longer there
        return
    sources = next((set(one.sources.values()) for one in graph.nodes if one.name == node.partition("/")[0]), set())
    if "sampling" in sources and first.spec.sampling != second.spec.sampling:
        yield "sampling"
    for name in sorted(sources & first.spec.resources.keys()):
        if first.spec.resources[name] != second.spec.resources.get(name):
            yield name


def _use(record: Recorded, node: str) -> str:
    graph: Any = record.spec.graph
    use = ""
    for part in node.split("/"):
        entry = graph.get(part.partition("[")[0], {})
        use = str(entry.get("use", ""))
        graph = record.spec.pipelines.get(use.removeprefix("pipeline/"), {}).get("graph", {})
    return use


def marked(first: str, second: str) -> str:
    """Both texts as one: `[-only the first-]`, `{+only the second+}`, and what they share between."""
    old, new = findall(WORDS, first), findall(WORDS, second)
    pieces = []
    for kind, *places in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        a, b, c, d = places
        gone, come = "".join(old[a:b]), "".join(new[c:d])
        if kind == "equal":
            pieces.append(gone)
            continue
        pieces += [f"[-{gone}-]"] * bool(gone) + [f"{{+{come}+}}"] * bool(come)
    return "".join(pieces)
