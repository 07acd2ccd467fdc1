"""Tests of this checkout lock devices of their own: nobody else on this machine waits for them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

_CHECKOUT = hashlib.sha256(str(Path(__file__).parent).encode()).hexdigest()[:8]
_TEMPORARY = Path(tempfile.gettempdir()) / f"ditbench-tests-{os.getuid()}-{_CHECKOUT}"
_TEMPORARY.mkdir(exist_ok=True)
# Before anything asks where temporary files go; what tests start inherits it.
os.environ["TMPDIR"] = os.environ["DITBENCH_LOCKS"] = tempfile.tempdir = str(_TEMPORARY)
