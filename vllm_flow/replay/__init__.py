"""Replay: a recorded run served again without a model, recomputed and compared, or run again with a change.

Knows the record and the runner, and nothing of Hydra: what config.yaml holds is all that a run is made of.
"""
