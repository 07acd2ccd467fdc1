"""What the fork server imports, once for all workers; importing this module arms it.

Our own attention methods, accelerators and models are imported here, because some of them pull in seconds of
torch; those of third parties are not, because they may start threads or touch the GPU: each worker discovers
its own.
"""

from __future__ import annotations

import pkgutil

import ditbench.accelerators
import ditbench.attention
import ditbench.models
from ditbench.run import guard

guard.arm(
    "torch",
    "ditbench.sampling",
    "ditbench.measure",
    "ditbench.run.worker",
    *(  # importing diffusers alone is lazy; the models name its classes
        f"{package.__name__}.{module.name}"
        for package in (ditbench.accelerators, ditbench.attention, ditbench.models)
        for module in pkgutil.iter_modules(package.__path__)
    ),
    single_threaded=("numpy", "scipy.linalg"),
)
