"""Networks: builders, weights, views, training, embeddings, checkpoints."""
