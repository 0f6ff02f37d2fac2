from __future__ import annotations

import random

from vllm_flow.engines.stopping import StopScanner


def shown(parts: list[str], stops: tuple[str, ...]) -> tuple[str, bool]:
    scanner = StopScanner(stops)
    text = "".join(scanner.push(part) for part in parts)
    return text + scanner.flush(), scanner.stopped


def by_definition(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """Character by character: the first end of a stop string counts, and of several that end there the longest."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


def test_it_agrees_with_the_definition_however_the_text_is_cut():
    rng = random.Random(0)
    for _ in range(5000):
        text = "".join(rng.choices("ab🙂", k=rng.randint(0, 12)))
        stops = tuple("".join(rng.choices("ab🙂", k=rng.randint(1, 4))) for _ in range(rng.randint(0, 3)))
        cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 5)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert shown(parts, stops) == by_definition(text, stops), (text, stops, parts)


def test_it_holds_back_no_more_than_it_must():
    scanner = StopScanner(("END.",))
    assert scanner.push("The EN") == "The "
    assert scanner.push("TER") == "ENTER"
    assert scanner.push(" E") == " "
    assert scanner.push("ND") == ""
    assert scanner.push(". more") == ""
    assert scanner.stopped
    assert scanner.push("later") == ""
    assert scanner.flush() == ""
