from __future__ import annotations

import random

from vllm_flow.engines.stopping import StopScanner


def shown(parts: list[str], stops: tuple[str, ...]) -> tuple[str, bool]:
    scanner = StopScanner(stops)
    text = "".join(scanner.push(part) for part in parts)
    return text + scanner.flush(), scanner.stopped


def by_definition(text: str, stops: tuple[str, ...], ignored: int = 0) -> tuple[str, bool]:
    """Character by character: the first end of a stop string counts, and of several that end there the longest.

    Those that end within the characters ignored do not.
    """
    for end in range(ignored + 1, len(text) + 1):
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


def test_what_is_complete_before_stop_strings_count_is_text():
    rng = random.Random(1)
    for _ in range(5000):
        parts = ["".join(rng.choices("ab", k=rng.randint(0, 3))) for _ in range(rng.randint(1, 6))]
        stops = tuple("".join(rng.choices("ab", k=rng.randint(1, 4))) for _ in range(rng.randint(0, 3)))
        first = rng.randint(0, len(parts))
        scanner = StopScanner(stops)
        found = "".join(scanner.push(part, place >= first) for place, part in enumerate(parts)) + scanner.flush()
        assert (found, scanner.stopped) == by_definition("".join(parts), stops, sum(map(len, parts[:first])))


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
