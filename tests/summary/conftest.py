"""The builders of runs stand one floor up, for the tests of all rooms."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
