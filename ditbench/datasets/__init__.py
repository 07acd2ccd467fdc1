"""Real pictures: where they lie and in which format, one file a format. Nothing here is ever unpickled."""

from ditbench.datasets.base import Dataset, padded
from ditbench.datasets.opening import open_dataset

__all__ = ["Dataset", "open_dataset", "padded"]
