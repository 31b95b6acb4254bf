"""One budget shared by all families: space, optimiser, workers, store."""
