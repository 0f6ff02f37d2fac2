"""Sweeps: many points of one configuration, answered together. Knows no Hydra: a launcher is a thin adapter over it."""
