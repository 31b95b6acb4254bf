"""Radiomic features out of an image and its mask."""
