"""The devices of this machine: what there is, what they do, whose they are, and whether they are fit."""
