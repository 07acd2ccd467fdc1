"""Numbers that every gate of times shares, each told once.

Plain numbers and no imports: help pages and the server that workers are forked from read them too.
"""

from __future__ import annotations

# The relative change below which nothing is said where a suite names no gate of its own.
GATE = 0.02
# Fewer processes, of a run or of an arm, gate and confirm nothing: the best of four tell too little of a
# machine of two modes.
PROCESSES = 5
# So many an arm where two modes show.
MOST = 8
