"""What tells of pictures in words. Importing this package registers it; it imports no torch and no OCR library."""

from vllm_flow.describers.readers import Rapid, Tesseract
from vllm_flow.describers.taggers import Classifier

__all__ = ["Classifier", "Rapid", "Tesseract"]
