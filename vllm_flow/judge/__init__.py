"""The pairwise judge: a model reads each answer of a sweep beside the baseline's, in both orders, and prefers one.

The judge is a pipeline like any other and its run a record like any other; here are only its questions and what its
verdicts add up to. Asked in one order, a model often prefers a place and not an answer (Zheng et al. 2023,
arXiv:2306.05685), so a preference counts only where both orders agree.
"""
