"""Models: architectures that diffusers builds, their weights, and the seam where attention goes in."""
