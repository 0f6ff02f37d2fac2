"""Drawing: a checked pipeline as a picture, for the terminal, as SVG and as Mermaid text.

All three draw one neutral model, `Picture`, so that they cannot disagree about what is wired to what.
"""
