"""A finished run as Python objects: every table a DataFrame, every figure a matplotlib Figure."""
