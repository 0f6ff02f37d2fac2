"""What may be typed next: for a shell's Tab, so nothing here imports Hydra, OmegaConf or a stage."""
