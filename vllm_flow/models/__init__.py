"""Where weights come from: a folder, a GGUF file, a package of the index, a hub, or random numbers."""
