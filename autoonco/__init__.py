"""autoonco: honest, automated classification of oncology images."""
