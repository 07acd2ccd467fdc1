"""Attention methods, one file each. `base` has the contract; nothing here is imported before it is used."""
