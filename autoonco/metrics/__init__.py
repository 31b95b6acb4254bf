"""Scores, intervals and comparison tests: pure functions of labels and probabilities."""
