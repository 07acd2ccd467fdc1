"""The one comment of a pull request that says what its nights came to: made once, and then made anew.

python comment.py NIGHTS, where each folder in NIGHTS is one night's artifact. Wants `gh` with a token that
may write to pull requests, and REPOSITORY, PULL_REQUEST and RUN_URL in the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from shorten import shorten

MARKER = "<!-- ditbench: nightly -->"
AUTHOR = "github-actions[bot]"
LIMIT = 65_000  # GitHub takes 65,536 characters


def body(nights: Path, url: str) -> str:
    """All reports below each other, each within its share of what GitHub takes."""
    reports = sorted(nights.glob("*/report.md")) or sorted(nights.glob("report.md"))
    if not reports:
        return f"{MARKER}\nditbench: the [run]({url}) left no report.\n"
    head = f"{MARKER}\n[The whole run]({url}), with pages and raw records as artifacts.\n\n"
    share = (LIMIT - len(head)) // len(reports)
    told = (shorten(report.read_text(encoding="utf-8"), share - 2) for report in reports)
    return head + "\n\n".join(told)


def mine(comments: list[dict[str, object]]) -> object | None:
    """The number of the comment that is made anew: only what this workflow itself wrote."""
    ours = [
        one["id"]
        for one in comments
        if one["user"]["login"] == AUTHOR and one["body"].startswith(MARKER)
    ]
    return ours[0] if ours else None


def gh(*words: str, given: str = "") -> str:
    """What GitHub answers; its refusal ends this program."""
    done = subprocess.run(
        ["gh", "api", *words], input=given, text=True, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"gh api {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def main(nights: Path) -> None:
    """Find the comment, then write it."""
    issues = f"repos/{os.environ['REPOSITORY']}/issues"
    place = f"{issues}/{int(os.environ['PULL_REQUEST'])}/comments"
    pages = json.loads(gh(f"{place}?per_page=100", "--paginate", "--slurp"))
    number = mine([one for page in pages for one in page])
    text = json.dumps({"body": body(nights, os.environ["RUN_URL"])})
    if number is None:
        gh(place, "--method", "POST", "--input", "-", given=text)
    else:
        gh(f"{issues}/comments/{number}", "--method", "PATCH", "--input", "-", given=text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
