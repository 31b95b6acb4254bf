"""Scikit-learn steps and learners, shared by every family that ends in a table."""
