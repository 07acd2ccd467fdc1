"""Models, attention methods and accelerators as a suite names them, resolved against the catalog."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ditbench.catalog import Accelerator, Catalog, Method, Setting
from ditbench.records import Choice, Scalar
from ditbench.suite.blocks import MOST_BLOCKS
from ditbench.suite.cursor import At
from ditbench.suite.kinds import Schema, kind_of
from ditbench.suite.yaml12 import Fields, Leaf

# Places in the schema (schema.py) where what the catalog offers is defined.
MODEL: Schema = {"$ref": "#/$defs/model"}
AXIS_OF_METHODS: Schema = {"$ref": "#/$defs/axis_of_methods"}
METHOD: Schema = {"$ref": "#/$defs/method"}
AXIS_OF_ACCELERATORS: Schema = {"$ref": "#/$defs/axis_of_accelerators"}
NAME_OF_METHOD: Schema = {"$ref": "#/$defs/name_of_method"}
ACCELERATOR: Schema = {"$ref": "#/$defs/accelerator"}

# What a cell has one of, each with its settings.
Plugin = Method | Accelerator


@dataclass(frozen=True)
class Offer:
    """A kind of plug-in: what people call one, the word before an example, and all there are."""

    noun: str
    word: str
    known: Callable[[Catalog], Mapping[str, Plugin]]


METHODS = Offer("attention method", "method", lambda catalog: catalog.methods)
ACCELERATORS = Offer("accelerator", "accelerator", lambda catalog: catalog.accelerators)


@dataclass(frozen=True, eq=False)
class Spread:
    """A plug-in with every value that each setting shall take; the choices come only when asked for."""

    at: At
    plugin: Plugin
    values: tuple[tuple[Scalar, ...], ...]

    @property
    def count(self) -> int:
        """How many choices there are."""
        return math.prod(len(values) for values in self.values)

    def choices(self) -> Iterator[Choice]:
        """One choice for each combination, the last setting moving fastest."""
        for values in itertools.product(*self.values):
            yield choice(self.plugin.name, self.plugin.settings, values)


def choice(name: str, settings: Iterable[Setting], values: Iterable[Scalar]) -> Choice:
    """A plug-in with all its settings; the label shows those that are not the default."""
    pairs = [
        (setting, _typed(setting, value)) for setting, value in zip(settings, values, strict=True)
    ]
    changed = [
        f"{setting.name}={_shown(value if not setting.file else str(value).rpartition('/')[2])}"
        for setting, value in pairs
        if value != _typed(setting, setting.default)
    ]
    label = f"{name}[{','.join(changed)}]" if changed else name
    return Choice(name, tuple((setting.name, value) for setting, value in pairs), label)


def spreads(at: At, offer: Offer, catalog: Catalog) -> list[Spread]:
    """An axis of such plug-ins; empty only with a mistake noted."""
    found = [spread(item, offer, catalog) for item in at.axis_items()]
    return [one for one in found if one]


def spread(at: At, offer: Offer, catalog: Catalog) -> Spread | None:
    """One item of the axis."""
    named = named_plugin(at, offer, catalog)
    if named is None:
        return None
    plugin, given = named
    values = tuple(_values(given, setting, catalog) for setting in plugin.settings)
    return Spread(at, plugin, values)


def _values(given: Mapping[str, At], setting: Setting, catalog: Catalog) -> tuple[Scalar, ...]:
    if setting.name not in given:
        return (setting.default,)
    return given[setting.name].axis(lambda at: value(at, setting, catalog))


def value(at: At, setting: Setting, catalog: Catalog) -> Scalar | None:
    """One value of a setting."""
    if setting.method:
        return None if _is_nowhere(at, catalog) else at.word(catalog.methods, METHODS.noun)
    read: Scalar | None = kind_of(setting).read(at)
    return read


def named_plugin(at: At, offer: Offer, catalog: Catalog) -> tuple[Plugin, dict[str, At]] | None:
    """The plug-in of `name` or `{name: {setting: value}}` and the settings that are given.

    Nobody knows which settings one that is broken has: it is taken without any.
    """
    if _is_nowhere(at, catalog):
        return None
    known = offer.known(catalog)
    if isinstance(at.node, Leaf):
        name = at.word(known, offer.noun)
        return (known[name], {}) if name else None
    if not isinstance(at.node, Fields) or len(at.node.fields) != 1:
        at.wrong(f"one {offer.word} each: write name, or {{name: {{setting: value}}}}")
        return None
    (name,) = at.fields(known, offer.noun) or (None,)
    if name is None:
        return None
    plugin, settings = known[name], at.child(name)
    if settings.is_empty or plugin.broken:
        return plugin, {}
    return plugin, settings.fields((setting.name for setting in plugin.settings), "setting")


def _is_nowhere(at: At, catalog: Catalog) -> bool:
    """Whether a name of the form `module:Class` is the name of nothing, which is noted."""
    named = [str(at.node.value)] if isinstance(at.node, Leaf) else []
    named += at.node.fields if isinstance(at.node, Fields) else []
    lost = next((name for name in named if name in catalog.nowhere), None)
    if lost is None:
        return False
    at.wrong(catalog.nowhere[lost])
    return True


def unique(found: Iterable[Spread]) -> tuple[Choice, ...]:
    """All choices of all spreads; one that stands twice is noted."""
    first: dict[Choice, str] = {}
    for item in found:
        for one in item.choices():
            if one in first:
                item.at.wrong(f"{one.label} stands in {first[one]} already")
            first.setdefault(one, item.at.where)
    return tuple(first)


def model(at: At, catalog: Catalog) -> Choice | None:
    """A registered name, or `{name: dit, setting: value}`; `module:Class` is a name too."""
    if isinstance(at.node, Leaf):
        name = _named_model(at, catalog)
        return _architecture(at, catalog, name, {}) if name else None
    if not isinstance(at.node, Fields) or "name" not in at.node.fields:
        at.wrong("must be a registered name or a mapping such as {name: dit, hidden: 192}")
        return None
    name = _named_model(at.child("name"), catalog)
    if name is None:
        return None
    settings = {setting.name: setting for setting in catalog.models[name].settings}
    if not settings and len(at.node.fields) > 1:
        at.wrong(f"{name} has a fixed architecture: only a model such as dit takes settings")
        return None
    given = at.fields(("name", *settings), "setting")
    read = {key: kind_of(settings[key]).read(given[key]) for key in given if key != "name"}
    return _architecture(at, catalog, name, {k: v for k, v in read.items() if v is not None})


def _named_model(at: At, catalog: Catalog) -> str | None:
    """One that can be built; nobody knows how many blocks one has that is broken."""
    name = "" if _is_nowhere(at, catalog) else at.word(catalog.models, "model")
    if name and (why := catalog.models[name].broken):
        at.wrong(why)
        return None
    return name or None


def _architecture(
    at: At, catalog: Catalog, name: str, given: Mapping[str, Scalar]
) -> Choice | None:
    found = catalog.models[name]
    values = {**dict(found.architecture), **given}
    if int(values.get("depth", 0)) > MOST_BLOCKS:
        at.wrong(f"a model of {values['depth']:,} blocks; at most {MOST_BLOCKS:,}")
        return None
    label = choice(name, found.settings, [values[setting.name] for setting in found.settings]).label
    return Choice(name, tuple(values.items()), label)


def _typed(setting: Setting, value: Scalar) -> Scalar:
    return float(value) if setting.kind == "float" else value


def _shown(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
