"""Cases in: manifest, readers, checks, fingerprint, folds, preprocessing, cache, phantoms."""
