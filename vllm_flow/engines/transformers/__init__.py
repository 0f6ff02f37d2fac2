"""The engine that runs PyTorch models by transformers. Only `options` is imported before a run opens it."""
