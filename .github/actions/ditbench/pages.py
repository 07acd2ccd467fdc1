"""Static pages of all nights of a run: a folder a suite, and a page that leads to them.

python pages.py NIGHTS SITE, where each folder in NIGHTS is one night's artifact.
"""

from __future__ import annotations

import html
import json
import shutil
import sys
from pathlib import Path

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>ditbench</title><style>body{{font:1rem system-ui;margin:2rem}}:root{{color-scheme:light dark}}</style>
<h1>ditbench, last night</h1>
<ul>
{items}
</ul>
</html>
"""


def night(folder: Path, site: Path) -> str:
    """One night's pages copied, and the line that leads to them; empty where it came to no report."""
    if not (folder / "report.html").is_file():
        return ""
    name, suite = folder.name, json.loads((folder / "run.json").read_text())["suite"]
    (site / name).mkdir(parents=True)
    for page in ("report.html", "history.html"):
        if (folder / page).is_file():
            shutil.copyfile(folder / page, site / name / page)
    code = json.loads((folder / "verdict.json").read_text())["exit_code"]
    past = (
        f', <a href="{html.escape(name)}/history.html">history</a>'
        if (folder / "history.html").is_file()
        else ""
    )
    place, told = html.escape(name), html.escape(suite)
    return f'<li><a href="{place}/report.html">{told}</a>: exit code {code}{past}</li>'


def main(nights: Path, site: Path) -> None:
    """Write the site."""
    site.mkdir(parents=True, exist_ok=True)
    lines = [night(folder, site) for folder in sorted(nights.glob("*/"))]
    found = "\n".join(filter(None, lines)) or "<li>no night came to a report</li>"
    (site / "index.html").write_text(PAGE.format(items=found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
