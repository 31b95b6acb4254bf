"""What may vary: ConfigSpace YAML, one file a component."""
