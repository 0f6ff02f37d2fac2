"""Flags: which of Hydra's command-line flags we pass on, and their order, which Hydra is strict about."""

from __future__ import annotations

from collections.abc import Sequence

from vllm_flow.core.errors import ConfigError, Fault, listed, nearest

ALONE = frozenset(
    {"-m", "--multirun", "-r", "--run", "--resolve", "-h", "--help", "--hydra-help", "-sc", "--shell-completion"}
)  # fmt: skip
COMMANDS_OWN = ("--json",)
"""Taken by the command before it comes here."""
VALUED = frozenset({"-c", "--cfg", "-p", "--package", "-i", "--info"})
CHOICES = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all")}
REFUSED = {
    "--config-dir": "files are read from the project folder only. Put them into its conf/.",
    "--config-path": "files are read from the project folder only. Put them into its conf/.",
    "--config-name": "there is one primary configuration. Choose with pipeline=NAME or experiment=NAME.",
    "--experimental-rerun": "it would unpickle a file. Give the overrides of the run again.",
}
SHORT = {"-cd": "--config-dir", "-cp": "--config-path", "-cn": "--config-name"}


def hoisted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags and overrides apart, wherever they stood. Raises ConfigError for flags that are not there for our users."""
    flags: list[str] = []
    overrides: list[str] = []
    faults: list[Fault] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            overrides.append(argument)
        elif argument in ALONE:
            flags.append(argument)
        elif name in VALUED:
            taken = value if equals else rest.pop(0) if rest and "=" not in rest[0] else ""
            faults += _value_faults(name, taken)
            flags += [name, taken or "all"]
        else:
            faults.append(Fault(name, _refusal(SHORT.get(name, name))))
    if faults:
        raise ConfigError(faults)
    return flags, overrides


def _value_faults(name: str, value: str) -> list[Fault]:
    if name in CHOICES and value not in CHOICES[name]:
        return [Fault(name, f"'{value}' does not fit. It takes one of: {', '.join(CHOICES[name])}.")]
    if name in ("-p", "--package") and not value:
        return [Fault(name, "a package is missing. Write --package graph, or another part of the configuration.")]
    return []


def _refusal(name: str) -> str:
    if name in REFUSED:
        return REFUSED[name]
    known = {flag for flag in (*ALONE, *VALUED, *COMMANDS_OWN) if flag.startswith("--")}
    return f"there is no flag '{name}'.{nearest(name, known)} There are: {listed(known)}."
