"""Markdown within a number of bytes, still Markdown: GitHub drops a summary or a comment that is too long.

python shorten.py FILE BYTES
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# A picture beside the page, which neither a summary nor a comment can show.
_PICTURE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)]+)\)")
_CLOSING = "\n</details>\n"
_ROOM = 400  # for what is said at the end, and for all that is closed there


def shorten(text: str, limit: int) -> str:
    """The first lines of a page that fit into `limit` bytes of UTF-8, with a word on what is left out.

    Nothing is cut inside a line; a block of code or a fold that is open at the end is closed.
    """
    lines = _PICTURE.sub(r"*\1: `\2` of the artifact*", text).splitlines(keepends=True)
    if sum(len(line.encode()) for line in lines) <= limit:
        return "".join(lines)
    kept, size = [], 0
    for line in lines:
        size += len(line.encode())
        if size > limit - _ROOM:
            break
        kept.append(line)
    left = len(lines) - len(kept)
    told = f"\n**{left} more lines of {len(lines)} are in `report.md` of the artifact.**\n"
    return "".join(kept) + _closed("".join(kept)) + told


def _closed(text: str) -> str:
    fence = "```\n" if len(re.findall(r"^```", text, re.MULTILINE)) % 2 else ""
    folds = max(0, text.count("<details") - text.count("</details>"))
    return fence + _CLOSING * folds


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(shorten(Path(sys.argv[1]).read_text(encoding="utf-8"), int(sys.argv[2])))
