"""The project's own parts, told from their source: nothing of it runs."""

from __future__ import annotations

from vllm_flow.config.own_parts import own_parts

from .conftest import Project

STAGES = '''"""Stages of the project, which must not be run to be listed."""

import nowhere_to_be_found

raise SystemExit(9)


@stage("mine/shout", blocking=True)
@dataclass(frozen=True)
class Shout:
    """The reply in capitals.

    Of all languages."""

    mark: str = "!"
    where: Literal["front", "back"] | None = "back"
    twice: bool = False
    _hidden = 3

    def run(self, reply): ...


@registry.resource("mine/bell")
class Bell:
    pass


@source('mine/feed')
class Feed:
    """Turns from a feed."""


@metric("mine/words", higher_is_better=True)
def words(text: str) -> float:
    """How many words."""


def later():
    @stage("mine/inside")
    class Inside:
        """Not found by reading."""
'''


def test_names_lines_and_options_are_read(project: Project) -> None:
    project.write("stages/shout.py", STAGES)
    found = {part.name: (part.kind, part.summary, part.options) for part in own_parts()}
    assert found == {
        "mine/shout": (
            "stage",
            "The reply in capitals.",
            {"mark": (), "where": ("front", "back", None), "twice": (True, False)},
        ),
        "mine/bell": ("resource", "", {}),
        "mine/feed": ("input", "Turns from a feed.", {}),
        "mine/words": ("metric", "How many words.", {}),
        "mine/inside": ("stage", "", {}),
    }
    assert {part.file.label for part in own_parts()} == {"stages/shout"}


def test_a_file_that_is_no_python_says_so_in_the_place_of_its_line(project: Project) -> None:
    project.write("stages/broken.py", '@stage("mine/broken"\n')
    project.write("stages/zero.py", '@stage("mine/zero")\nclass A: pass\n\0')
    broken, zero = own_parts()
    assert broken.summary == "stages/broken.py is no Python: '(' was never closed (line 1)."
    assert (zero.name, zero.summary[:29]) == (
        "mine/zero",
        "stages/zero.py is no Python: ",
    )  # Pythons differ in the rest


def test_a_folder_without_stages_has_none(project: Project) -> None:
    project.write("stages/marks.py", 'MARK = "!"\n')
    (project.root / "stages/folder.py").mkdir()
    assert own_parts() == []
