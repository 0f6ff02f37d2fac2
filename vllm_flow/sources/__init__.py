"""Where context comes from beside the conversation: files, folders, catalogues, facts, the web. Importing it registers them."""

from vllm_flow.sources.catalogue import JsonLines
from vllm_flow.sources.facts import Facts
from vllm_flow.sources.files import Files
from vllm_flow.sources.folder import Folder
from vllm_flow.sources.pages import Pages

__all__ = ["Facts", "Files", "Folder", "JsonLines", "Pages"]
