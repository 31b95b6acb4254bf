"""Run folder to one page."""
