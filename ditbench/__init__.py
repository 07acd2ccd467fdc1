"""ditbench: a declarative benchmark harness for attention methods in Diffusion Transformers."""

__version__ = "0.1.0"
