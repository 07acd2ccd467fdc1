"""Arms that cannot share a process: a folder of another commit, and packages of their own.

Nothing here looks at what is measured: git and pip are asked, folders are made, and taken away again
however the session ends.
"""

from ditbench.arms.den import PREFIX, den
from ditbench.arms.layer import Layer, counterpart, environ, lacking, layer, requirements
from ditbench.arms.worktree import Repository, worktree

__all__ = [
    "PREFIX",
    "Layer",
    "Repository",
    "counterpart",
    "den",
    "environ",
    "lacking",
    "layer",
    "requirements",
    "worktree",
]
