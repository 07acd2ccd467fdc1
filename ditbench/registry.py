"""Plug-ins by name: a decorator to register one, a look-up that knows what was meant, typed settings.

A plug-in is a frozen dataclass. Its fields are exactly the settings that YAML may give; `setting` adds
what a value must satisfy. Discovery is a function and never happens at import.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
import typing
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ditbench.catalog import Setting
from ditbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ditbench.records import Scalar

T = TypeVar("T", bound=type[Any])


def setting(
    default: Any,  # noqa: ANN401 (any scalar; the field's annotation says which)
    *,
    least: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401 (what dataclasses.field returns)
    """A dataclass field that is a setting, with the least value or the only values it may take."""
    return dataclasses.field(default=default, metadata={"least": least, "choices": choices})


class Registry(Generic[T]):
    """Names to plug-in classes of one kind, from a package of ours and an entry-point group.

    problems: what is wrong with a class that claims to be such a plug-in, each as a clause.
    broken: entry points that could not be taken, by name, each with the reason; the others are not kept from
    working by them.
    """

    def __init__(
        self, kind: str, package: str, group: str, problems: Callable[[Any], list[str]]
    ) -> None:
        self.kind = kind
        self.broken: dict[str, str] = {}
        self._package = package
        self._group = group
        self._problems = problems
        self._found: dict[str, T] = {}
        self._discovered = False

    def register(self, plugin: T) -> T:
        """Class decorator: add a plug-in under its own `name`."""
        if plugin.name in self._found:
            message = f"two {self.kind}s are called {plugin.name!r}"
            raise ValueError(message)
        self._found[plugin.name] = plugin
        return plugin

    def discover(self) -> dict[str, T]:
        """Import every module of the package and every entry point, once; all plug-ins by name."""
        if not self._discovered:
            self._discovered = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            for point in entry_points(group=self._group):
                self._take(point)
        return dict(sorted(self._found.items()))

    def _take(self, point: EntryPoint) -> None:
        """Add another package's plug-in, or note why not."""
        source = f"{point.value} of {point.dist.name if point.dist else 'an unknown package'}"
        name = point.value if point.name in self._found else point.name
        try:
            plugin = self._sound(point.load())
        except Exception as error:  # noqa: BLE001 (a package of somebody else's may raise anything)
            self.broken[name] = f"{source} cannot be used: {_told(error)}"
            return
        if self._found.setdefault(plugin.name, plugin) is not plugin:
            self.broken[name] = f"{source} cannot be used: {plugin.name!r} is taken already"

    def _sound(self, plugin: T) -> T:
        """The plug-in. Raises UsageError where it does not keep the contract."""
        if problems := self._problems(plugin):
            raise UsageError("; ".join(problems))
        return plugin

    def get(self, name: str) -> T:
        """The plug-in of that name, or of `module:Class`. Raises UsageError with the nearest name."""
        if ":" in name:
            return self._outside(name)
        plugins = self.discover()
        if name in self.broken:
            raise UsageError(f"{self.kind} {name!r}: {self.broken[name]}")
        if name not in plugins:
            message = f"unknown {self.kind} {name!r}{did_you_mean(name, plugins)}"
            raise UsageError(message)
        return plugins[name]

    def _outside(self, name: str) -> T:
        module, _, attribute = name.partition(":")
        try:
            return self._sound(getattr(importlib.import_module(module), attribute))
        except Exception as error:  # a module of somebody else's may raise anything
            raise UsageError(f"{self.kind} {name!r} cannot be used: {_told(error)}") from error


def _told(error: Exception) -> str:
    """One line; an error of ours needs no name."""
    line = next(iter(str(error).splitlines()), "")
    return line if isinstance(error, UsageError) else f"{type(error).__name__}: {line}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with a space before it, (did you mean 'block_size'?), or nothing."""
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def settings_of(plugin: type[Any]) -> tuple[Setting, ...]:
    """What a plug-in may be told, read off its dataclass fields."""
    hints = typing.get_type_hints(plugin)
    return tuple(
        Setting(
            name=field.name,
            kind=_kind(hints[field.name]),
            default=typing.cast("Scalar", field.default),
            least=field.metadata.get("least"),
            choices=tuple(field.metadata.get("choices", ()) or _literals(hints[field.name])),
        )
        for field in dataclasses.fields(plugin)
    )


def _literals(hint: object) -> tuple[str, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _kind(hint: object) -> str:
    if _literals(hint):
        return "str"
    return typing.cast("Callable[..., Any]", hint).__name__
