"""What extractors are made of: a network, ways to resize, a reader of weights."""
