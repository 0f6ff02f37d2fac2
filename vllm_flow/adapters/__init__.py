"""Adapters: evaluation harnesses ask, our pipelines answer. Each needs the extra `eval`."""
