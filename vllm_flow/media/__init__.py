"""The gate: every image and sound enters here, as bytes of any kind, and leaves as a value in one form or as an error.

What is in a file is told by its content, how much by its header before any of it is decoded. Nobody else opens
images and sounds.
"""

from vllm_flow.core.errors import MediaError
from vllm_flow.media.files import Files
from vllm_flow.media.images import image_from, pixels
from vllm_flow.media.limits import Limits
from vllm_flow.media.reading import medium_from, read_medium
from vllm_flow.media.sounds import audio_from, samples

__all__ = [
    "Files",
    "Limits",
    "MediaError",
    "audio_from",
    "image_from",
    "medium_from",
    "pixels",
    "read_medium",
    "samples",
]
