"""Where turns come from. Importing this package registers the inputs."""

from vllm_flow.inputs.file import File
from vllm_flow.inputs.stdin import Stdin
from vllm_flow.inputs.text import Text

__all__ = ["File", "Stdin", "Text"]
