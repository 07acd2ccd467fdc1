"""A suite: one YAML file that says what to measure."""
