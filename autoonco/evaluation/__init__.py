"""Judging: outer folds, ensembles, comparison of families."""
