"""Training of what ships with the package: the small DiT and the small feature network."""
