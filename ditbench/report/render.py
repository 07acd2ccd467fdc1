"""The page as files: one HTML file that needs no network, Markdown for CI, and its charts as SVG."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ditbench.compare import Comparison
from ditbench.report import history
from ditbench.report.charts import Figure
from ditbench.report.clocks import Beside
from ditbench.report.view import HTML, MARKDOWN, Limits, made, page
from ditbench.store import Run
from ditbench.store.disk import write_whole
from ditbench.summary import Summary

_TEMPLATES = "templates"
# Where an SVG stands alone nobody tells it a colour: a grey that reads on white and on black.
_ALONE = "#7d8590"
_HTML_BYTES = 2_900_000
_MARKDOWN_BYTES = 850_000
_FIELD = 300  # characters of one field of a Markdown table
NOTHING = Beside()
_CODE = re.compile(r"`([^`\n]+)`")
_SIGNS = re.compile(r"[\\`*_{}\[\]|~$]")
_SPECIAL = re.compile(r"([\\`*{}\[\]|#~$])|((?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def render(
    run: Run, summary: Summary, comparison: Comparison, out: Path, beside: Beside = NOTHING
) -> Path:
    """Write report.html, report.md and charts/*.svg into a folder; the HTML file's path."""
    shared = made(run, summary, beside)
    drawn = {figure.name: svg(figure) for figure in shared.figures}
    specs = {figure.name: figure.spec for figure in shared.figures}

    def whole(limits: Limits) -> str:
        full = page(run, summary, comparison, limits, shared)
        return html("report.html.jinja", full, drawn, specs)

    def markdown(limits: Limits) -> str:
        shown = page(run, summary, comparison, limits, shared)
        for card in shown.changes.cards:
            small.update((drawing.name, drawing.svg) for drawing in card.drawings)
        maps = shown.reuse.maps if shown.reuse else ()
        small.update((one.drawing.name, one.drawing.svg) for one in maps)
        return _markdown().get_template("report.md.jinja").render(page=shown)

    small: dict[str, str] = {}
    text = _fitting(_MARKDOWN_BYTES, MARKDOWN, markdown)
    for name, drawing in (drawn | small).items():
        _write_alone(out / "charts" / f"{name}.svg", drawing)
    write(out / "report.md", text)
    return write(out / "report.html", _fitting(_HTML_BYTES, HTML, whole))


def render_history(of: history.Story, folder: Path) -> Path:
    """Write history.html, history.md and history/*.svg into a suite's folder; the HTML file's path."""

    def whole(limits: Limits) -> str:
        return html("history.html.jinja", history.page(of, limits.lines, limits.changes), {}, {})

    def markdown(limits: Limits) -> str:
        shown = history.page(of, limits.lines, limits.changes)
        drawn.update((drawing.name, drawing.svg) for drawing in shown.drawings)
        return _markdown().get_template("history.md.jinja").render(page=shown)

    drawn: dict[str, str] = {}
    text = _fitting(_MARKDOWN_BYTES, MARKDOWN, markdown)
    for name, drawing in drawn.items():
        _write_alone(folder / "history" / f"{name}.svg", drawing)
    write(folder / "history.md", text)
    return write(folder / "history.html", _fitting(_HTML_BYTES, HTML, whole))


def _write_alone(path: Path, drawing: str) -> None:
    # As plain text: markup escapes what is put into it, and this is a tag.
    write(path, str(drawing).replace("<svg ", f'<svg color="{_ALONE}" ', 1))


def _fitting(most: int, limits: Limits, text_of: Callable[[Limits], str]) -> str:
    """The text with as many rows as its size in bytes allows."""
    text = text_of(limits)
    while len(text.encode()) > most and limits != limits.halved:
        limits = limits.halved
        text = text_of(limits)
    return text


def html(template: str, page: object, drawn: Mapping[str, str], specs: Mapping[str, Any]) -> str:
    """A page that needs nothing beside itself. drawn, specs: its charts by name, still and interactive."""
    script, bundle = resource("page.js"), _bundle() if drawn else ""
    return (
        templates()
        .get_template(template)
        .render(
            page=page,
            style=Markup(resource("style.css")),  # noqa: S704 (our own file)
            drawn={name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704 (escaped by Vega)
            script=Markup(script),  # noqa: S704 (our own file)
            bundle=Markup(bundle),  # noqa: S704 (Vega's own, without a closing tag)
            scripts=" ".join(_allowed(part) for part in (bundle, script) if part),
            specs=specs,
        )
    )


def templates() -> Environment:
    """Our templates; what they print is escaped, and what they miss is an error."""
    environment = Environment(
        loader=PackageLoader("ditbench.report", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["coded"] = _coded
    return environment


def _coded(text: str) -> Markup:
    """A text for HTML with what stands between backticks as code."""
    words = enumerate(_CODE.split(text))
    return Markup().join(
        Markup("<code>{}</code>").format(word) if number % 2 else escape(word)
        for number, word in words
    )


def _markdown() -> Environment:
    """The same rules; what is printed is escaped for Markdown, which autoescape does not know."""
    environment = templates().overlay(autoescape=False, finalize=_escaped)
    environment.filters["ready"] = Markup
    environment.filters["plain"] = _plain
    environment.filters["whole"] = _whole
    return environment


def _plain(value: str) -> Markup:
    """Text within a tag: there a backslash would be seen, so Markdown's signs are entities."""
    text = str(escape(" ".join(value.split())))
    safe = _SIGNS.sub(lambda sign: f"&#{ord(sign[0])};", text)
    return Markup(safe)  # noqa: S704 (escaped above)


def _escaped(value: object) -> str:
    """One line of Markdown that shows the value and does nothing else."""
    if isinstance(value, Markup):
        return str(value)
    text = " ".join(str(value).split())
    if len(text) > _FIELD:
        text = text[:_FIELD] + " \N{HORIZONTAL ELLIPSIS}"
    return _whole(text)


def _whole(value: str) -> Markup:
    """Likewise of any length: a paragraph of its own."""
    text = " ".join(value.split())
    text = _SPECIAL.sub(r"\\\g<0>", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(text)  # noqa: S704 (escaped above)


def svg(figure: Figure) -> str:
    """A figure's drawing, without a script."""
    drawn: str = vl_convert.vegalite_to_svg(
        figure.spec, vl_version=_version(), allowed_base_urls=[]
    )
    return drawn


def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, in the version that the charts are written for."""
    bundle: str = vl_convert.javascript_bundle(vl_version=_version())  # type: ignore[call-arg]  # its stub lags
    return bundle


def _version() -> str:
    """Altair's Vega-Lite, as vl-convert names it: v6.4.1 -> 6.4."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def _allowed(script: str) -> str:
    """A script's hash for the page's content policy: nothing else may run in it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def resource(name: str) -> str:
    """The text of a file that lies beside the templates."""
    return files("ditbench.report").joinpath(_TEMPLATES, name).read_text()


def write(path: Path, text: str) -> Path:
    """Whole or not at all, so that a reader never sees half a page. Raises StoreError."""
    write_whole(path, text, "write it again with `ditbench report`")
    return path
