"""A server's preload without torch, so that tests start at once."""

from ditbench.run import guard

guard.arm("ditbench.run.worker")
