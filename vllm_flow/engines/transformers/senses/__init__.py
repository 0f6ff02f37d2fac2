"""Models that see and hear: their media become embeddings in the place of tokens, and the rest is a language model.

So pictures and sounds are read in the engine's own batch, piece by piece, and remembered by the prefix cache as texts.
"""
