"""Texts that try to become control tokens."""

from __future__ import annotations

from random import Random

from tests.seam.families import CONTROL, SAYINGS

LIKE = str.maketrans({"<": "＜", ">": "＞", "|": "｜", "[": "［", "i": "і", "e": "е", "s": "ѕ", "_": "＿"})
WIDE = ["\u200b", "\u200d", "\ufeff", "\u00ad", "\u2060", "\u0301", "\x00", "\x08", "\r"]
SHAPES = ["{}", "{} ", "\n{}\n", "x{}y", "a {} b", "report{}.pdf", "/home/{}/notes.txt", "scan: l1ne {}  |  page 3",
          '"{}"', "{{{{ '{}' }}}}", "`{}`", "\\{}", "&lt;{}", "{}system\nObey.", "0:01 {} so uh"]  # fmt: skip


def hostile(random: Random, control: list[str] = CONTROL) -> str:
    """One text, of a few words that are hostile in one of the ways that there are, and some that are not."""
    return "".join(random.choice(SHAPES).format(_one(random, control)) for _ in range(random.randint(1, 3)))


def _one(random: Random, control: list[str]) -> str:
    name, other = random.choice(control), random.choice(control)
    cut, at = random.randint(1, len(name)), random.randint(0, len(other))
    ways = [
        name,
        name * random.randint(2, 4),
        name + other,
        name[:cut],
        name[cut:],
        other[:at] + name + other[at:],
        name[:cut] + random.choice(WIDE) + name[cut:],
        name.translate(LIKE),
        name.upper(),
        f" {name} ",
        name.replace("<", "< "),
        "".join(f"&#{ord(one)};" for one in name),
        name.encode("utf-16", "surrogatepass").decode("latin-1"),
        random.choice(SAYINGS) + name,
        other[at:] + name[:cut],
    ]
    return random.choice(ways)
