"""Benchmarks of autoonco: scripts that are run by hand and are no part of the installed package."""
