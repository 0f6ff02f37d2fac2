"""The SQLite store as it is configured: which file, how long to wait for another process, how long to keep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vllm_flow.core.errors import StoreError
from vllm_flow.core.options import above, at_least
from vllm_flow.core.registry import resource
from vllm_flow.stores.retention import expire
from vllm_flow.stores.sqlite_file import read_names
from vllm_flow.stores.sqlite_store import SqliteStore


@resource("store/sqlite")
@dataclass(frozen=True)
class Sqlite:
    """Keeps conversations in a SQLite file, which several processes may use at once."""

    path: str = "outputs/conversations.sqlite"
    """Made, with its folder, when it does not exist; `~` is the home folder."""
    wait_s: Annotated[float, at_least(0)] = 10.0
    """How long to wait, in seconds, while another process writes."""
    keep_days: Annotated[float, above(0)] | None = None
    """Conversations in which nothing was said for so long are deleted when the file is opened; null: none are."""

    def open(self) -> SqliteStore:
        """Raises StoreError when the file cannot be read and written, or holds something else."""
        store = SqliteStore(self.file, self.wait_s)
        try:
            if self.keep_days is not None:
                expire(store, self.keep_days, str(self.file))
        except BaseException:
            store.close()
            raise
        return store

    def names(self) -> dict[str, str]:
        """Each conversation with its title, the one written last first; for a shell's Tab, so it changes nothing."""
        return read_names(self.file)

    @property
    def file(self) -> Path:
        """Where it is. Raises StoreError for a path that cannot be one."""
        if not self.path.strip():
            raise StoreError("store.path: it is empty. Name a file, such as outputs/conversations.sqlite.")
        try:
            return Path(self.path).expanduser().absolute()
        except RuntimeError as error:  # there is no such user
            raise StoreError(f"store.path ({self.path}): {error} Write the folder out.") from None
