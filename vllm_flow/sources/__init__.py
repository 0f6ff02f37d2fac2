"""Where context comes from beside what was said: files, folders, catalogues, facts, the web. Importing registers it."""

from vllm_flow.sources.catalogue import JsonLines
from vllm_flow.sources.facts import Facts
from vllm_flow.sources.files import Files
from vllm_flow.sources.folder import Folder
from vllm_flow.sources.pages import Pages

__all__ = ["Facts", "Files", "Folder", "JsonLines", "Pages"]
