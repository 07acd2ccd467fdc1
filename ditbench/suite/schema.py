"""The JSON schema of the suite language, for editors: made of the tables that the readers read by.

It knows shapes: keys, types, bounds, words, and the settings of each method and model. What needs a second
look stays with `parse`: blocks that a model has, folders that are there, a matrix that is too big. A suite
that `parse` accepts is never refused here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ditbench.catalog import Accelerator, Catalog, Method, Model, Setting
from ditbench.records import OP
from ditbench.suite import parse
from ditbench.suite.cursor import At
from ditbench.suite.kinds import Axis, Key, Keys, Kind, Made, Schema, kind_of, table
from ditbench.suite.plugins import NAME_OF_METHOD

_OUTSIDE = r"^\w+(\.\w+)*:\w+$"


# Of models from outside only the form is known.
_FROM_OUTSIDE: tuple[Schema, ...] = (
    {"type": "string", "pattern": _OUTSIDE},
    {
        "type": "object",
        "properties": {"name": {"type": "string", "pattern": _OUTSIDE}},
        "required": ["name"],
    },
)


def schema(catalog: Catalog) -> dict[str, Any]:
    """The whole schema, draft 2020-12, as plain JSON."""
    methods, models = catalog.methods.values(), catalog.models.values()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ditbench suite",
        "description": "What ditbench shall measure. Under the keys of an axis a list means: each of these.",
        "type": "object",
        "if": {"properties": {"kind": {"const": OP}}, "required": ["kind"]},
        "then": table(parse.keys(catalog, OP)),
        "else": table(parse.keys(catalog)),
        "$defs": {
            "model": {"anyOf": [*_named(models), *map(_architecture, models), *_FROM_OUTSIDE]},
            "axis_of_methods": _plugins(methods, axes=True),
            "method": _plugins(methods, axes=False),
            "name_of_method": {
                "anyOf": [*_named(methods), {"type": "string", "pattern": _OUTSIDE}]
            },
            "axis_of_accelerators": _plugins(catalog.accelerators.values(), axes=True),
            "accelerator": _plugins(catalog.accelerators.values(), axes=False),
        },
    }


def _named(plugins: Iterable[Method | Accelerator | Model]) -> list[Schema]:
    return [{"const": plugin.name, "description": _about(plugin)} for plugin in plugins]


def _about(plugin: Method | Accelerator | Model) -> str:
    if isinstance(plugin, Model):
        return plugin.summary
    if isinstance(plugin, Accelerator):
        return f"{plugin.summary} {plugin.paper}. Skips {plugin.skips}."
    return f"{plugin.summary} {plugin.paper}. Core: {plugin.cost} multiply-adds a head."


def _architecture(model: Model) -> Schema:
    """`{name: dit, hidden: 192}`."""
    settings = _settings(model.settings, axes=False)
    name = {"const": model.name, "description": model.summary}
    return {
        "type": "object",
        "properties": {"name": name, **table(settings)["properties"]},
        "required": ["name"],
        "additionalProperties": False,
    }


def _plugins(plugins: Iterable[Method | Accelerator], *, axes: bool) -> Schema:
    """A name, or `{name: {setting: value}}`; of those from outside only the form is known."""
    plugins = tuple(plugins)
    settings = {
        plugin.name: {
            "anyOf": [table(_settings(plugin.settings, axes=axes)), {"type": "null"}],
            "description": _about(plugin),
        }
        for plugin in plugins
    }
    return {
        "anyOf": [
            *_named(plugins),
            {"type": "string", "pattern": _OUTSIDE},
            {
                "type": "object",
                "properties": settings,
                "patternProperties": {_OUTSIDE: {"type": ["object", "null"]}},
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    }


def _settings(settings: Iterable[Setting], *, axes: bool) -> Keys:
    return {
        setting.name: Key(_kind(setting, axes=axes), _range(setting), default=setting.default)
        for setting in settings
    }


def _kind(setting: Setting, *, axes: bool) -> Kind:
    kind = Made(At.text, NAME_OF_METHOD) if setting.method else kind_of(setting)
    return Axis(kind) if axes else kind


def _range(setting: Setting) -> str:
    """`int, at least 1`."""
    kind = f"one of {', '.join(setting.choices)}" if setting.choices else setting.kind
    return f"{kind}{setting.bounds}"
