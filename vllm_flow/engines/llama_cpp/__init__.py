"""The llama_cpp engine: llama.cpp computes the logits of a GGUF file; sampling and all else is ours."""
