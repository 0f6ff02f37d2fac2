"""Models that see or hear, in the engine."""
