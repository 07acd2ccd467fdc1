"""How often a method with memory generates while its memory is watched: two hundred times by `make long`."""

from __future__ import annotations

import pytest

GENERATIONS = [8, pytest.param(200, marks=pytest.mark.long)]
