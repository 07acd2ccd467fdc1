"""What the fork server imports, once for all workers; importing this module arms it.

Our own attention methods are imported here, because some of them pull in seconds of torch; those of third
parties are not, because they may start threads or touch the GPU: each worker discovers them for itself.
"""

from __future__ import annotations

import pkgutil

import ditbench.attention
from ditbench.run import guard

guard.arm(
    "torch",
    "ditbench.models.dit",  # importing diffusers alone is lazy; these two name the classes
    "ditbench.sampling",
    "ditbench.measure",
    "ditbench.run.worker",
    *(
        f"ditbench.attention.{module.name}"
        for module in pkgutil.iter_modules(ditbench.attention.__path__)
    ),
    single_threaded=("numpy", "scipy.linalg"),
)
