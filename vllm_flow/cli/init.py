"""`vllm-flow init NAME`: a project that runs at once, made whole or not at all.

The examples are folders that lie in the package as they are to be; only the plugin's name is written into its copy. A
project is put together beside its place and then moved there, so that nothing half-made is ever seen under its name.
"""

from __future__ import annotations

import importlib.util
import json
import keyword
import re
import secrets
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from vllm_flow.core.errors import ConfigError, Fault, listed, nearest

EXAMPLES = ("dialogue", "tool", "sweep", "plugin")
DEFAULT = "dialogue"
INSTEAD = {"weather": "tool"}
"""What stands for an example that there is no longer."""
HELP = """usage: vllm-flow init NAME [--example EXAMPLE]

Makes a project in a new folder, or in an empty one (`.` is this one). Overwrites nothing. EXAMPLE is one of

  dialogue  a dialogue, with a stage that crosses words out of the reply
  tool      questions about buses, answered from a function of your own that the model calls
  sweep     an experiment that is a whole sweep, with a score of your own
  plugin    a package to install, whose stages any project can name, and a project that does

and dialogue unless you choose. Each has a pipeline, a part of your own, a test, an experiment, an input, and a
README whose commands all work.
"""
TEMPLATES = Path(__file__).parent.parent / "examples"
PLACEHOLDER = "acme"
"""The package's name in the example `plugin`."""
NAME = re.compile(r"\w[\w.-]*( [\w.-]+)*(?<!\.)")
SCHEMA = "schema.json"
NAMED = 5
"""How many entries that are in the way are named."""


def main(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(HELP, end="")
        return 0
    name, example = _asked(arguments)
    folder = Path(name)
    files = _files(example, _package_name(name, folder) if example == "plugin" else PLACEHOLDER)
    try:
        _refuse(name, folder, files)
        made = _make(folder, files)
    except OSError as error:
        raise _fault(name, f"it cannot be written: {error.strerror or error}. Choose another place.") from error
    print(f"Made {name}:", *(f"  {path}" for path in made), sep="\n")
    steps = [f"cd {shlex.quote(name)}"] if name != "." else []
    steps += commands(files["README.md"])
    print("Next:", *(f"  {step}" for step in steps[:3]), sep="\n")
    return 0


def commands(readme: str) -> list[str]:
    """The commands that a README begins with, in their order."""
    block = readme.partition("```bash\n")[2].partition("```")[0]
    return [line for line in block.splitlines() if line and not line.startswith("#")]


def _asked(arguments: list[str]) -> tuple[str, str]:
    """The name of the project and the example. Raises ConfigError."""
    example, names, left = DEFAULT, [], iter(arguments)
    for word in left:
        flag, equals, value = word.partition("=")
        if flag == "--example":
            example = value if equals else next(left, "")
        elif word.startswith("-"):
            problem = f"there is no such flag.{nearest(word, ['--example'])} Flags: --example, --help, -h."
            raise ConfigError([Fault(word, problem, "command line")])
        else:
            names.append(word)
    if example not in EXAMPLES:
        hint = nearest(INSTEAD.get(example, example), EXAMPLES)
        problem = f"there is no example '{example}'.{hint} There are: {listed(EXAMPLES)}."
        raise ConfigError([Fault("--example", problem, "command line")])
    if len(names) != 1 or not names[0].strip():
        problem = f"{len(names)} names are given" if names[1:] else "a name is missing"
        raise ConfigError([Fault("init", f"{problem}. Write vllm-flow init NAME, or . for this folder.")])
    return names[0], example


def _files(example: str, package: str) -> dict[str, str]:
    """Path in the project to text."""
    root = TEMPLATES / example
    paths = sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    return {
        path.replace(PLACEHOLDER, package): text.replace(PLACEHOLDER, package) if example == "plugin" else text
        for path, text in files.items()
    }


def _package_name(name: str, folder: Path) -> str:
    """What the package is called in Python. Raises ConfigError for what Python cannot say or has already."""
    package = re.sub(r"[ .-]", "_", folder.resolve().name)
    if not package.isidentifier() or not package.isascii() or keyword.iskeyword(package):
        raise _fault(name, f"'{package}' is no name for a Python package. Take letters, digits and _.")
    found = importlib.util.find_spec(package)
    if found is not None and found.origin is not None:  # without an origin it is but a folder of that name
        raise _fault(name, f"there is a Python package '{package}' already. Choose another name.")
    return package


def _refuse(name: str, folder: Path, files: Mapping[str, str]) -> None:
    """Raises ConfigError when the project cannot go there."""
    if folder.is_dir():
        ours = {path.partition("/")[0] for path in files}
        there = sorted(entry.name for entry in folder.iterdir())
        stands = [entry for entry in there if not entry.startswith(".") or entry in ours]
        if stands:
            more = f" and {len(stands) - NAMED} more" if len(stands) > NAMED else ""
            what = f"{', '.join(stands[:NAMED])}{more} would be in the way"
            raise _fault(name, f"the folder is not empty: {what}. Choose a new or an empty one.")
    elif folder.exists() or folder.is_symlink():
        raise _fault(name, "this is a file. Choose another name.")
    elif not NAME.fullmatch(folder.name):
        raise _fault(name, "this is no name for a folder. Take letters, digits, _, - and .")
    elif not folder.parent.is_dir():
        raise _fault(name, f"there is no folder {folder.parent}. Make it first.")


def _make(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Write the project, and return its files. Raises OSError, and then leaves nothing."""
    into = folder if folder.is_dir() else None
    beside = (into or folder.parent) / f".vllm-flow-init-{secrets.token_hex(4)}"
    beside.mkdir()
    try:
        for path, text in files.items():
            _write(beside / path, text)
        for conf in sorted(beside.rglob("conf")):
            _write(conf / SCHEMA, _schema(conf.parent))
        made = sorted(path.relative_to(beside).as_posix() for path in beside.rglob("*") if path.is_file())
        if into is None:
            beside.rename(folder)
        else:
            _move(beside, into)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return made


def _move(beside: Path, into: Path) -> None:
    """Everything up into the folder, or nothing."""
    moved: list[Path] = []
    try:
        for entry in sorted(beside.iterdir()):
            moved.append(entry.rename(into / entry.name))
    except BaseException:
        for entry in moved:
            entry.rename(beside / entry.name)
        raise


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _schema(project: Path) -> str:
    """The schema of what can be said in this project, its own parts included."""
    from vllm_flow.config import schema
    from vllm_flow.config.layers import in_project

    with in_project(project):
        return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _fault(name: str, problem: str) -> ConfigError:
    return ConfigError([Fault(f"init {name}", problem)])
