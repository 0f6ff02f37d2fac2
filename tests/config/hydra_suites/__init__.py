"""Suites that Hydra ships for what plugs into it, run over what we plug in."""
