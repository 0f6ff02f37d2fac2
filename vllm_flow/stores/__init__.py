"""Where conversations are kept. Importing this package registers the stores."""

from vllm_flow.stores.memory import Memory, MemoryStore
from vllm_flow.stores.sqlite import Sqlite
from vllm_flow.stores.sqlite_store import SqliteStore

__all__ = ["Memory", "MemoryStore", "Sqlite", "SqliteStore"]
