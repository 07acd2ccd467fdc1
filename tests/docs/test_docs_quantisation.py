"""The page of quantisation says what the code counts."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_bytes_on_the_page_are_those_that_the_script_counts():
    script = runpy.run_path(str(ROOT / "benchmarks/quantised_caches.py"))
    page = (ROOT / "docs/quantisation.md").read_text(encoding="utf-8")
    assert "\n".join(script["weighed"]()) in page
