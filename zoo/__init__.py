"""Which networks exist: one YAML a network."""
