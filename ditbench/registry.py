"""Plug-ins by name: a decorator to register one, a look-up that knows what was meant, typed settings.

A plug-in is a frozen dataclass. Its fields are exactly the settings that YAML may give; `setting` adds
what a value must satisfy. Discovery is a function and never happens at import.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import pkgutil
import typing
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ditbench.catalog import Setting
from ditbench.errors import PluginError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from ditbench.records import Scalar

T = TypeVar("T", bound=type[Any])


def setting(  # noqa: PLR0913 (what may be said of a setting, each by its name)
    default: Any,  # noqa: ANN401 (any scalar; the field's annotation says which)
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    file: bool = False,
    reader: str = "",
    method: bool = False,
) -> Any:  # noqa: ANN401 (what dataclasses.field returns)
    """A dataclass field that is a setting, with the least and the largest, or the only values it may take.

    file: it names one, and the plug-in gets the name as `digests.sealed` makes it. reader: `module:function`,
    given the file's bytes and its place when a suite is read; it raises UsageError, one line, where the file
    is of no use to any cell. Whoever reads a suite has no torch, and the module must not import it.
    method: it names an attention method.
    """
    told = {"least": least, "most": most, "choices": choices, "file": file, "reader": reader}
    return dataclasses.field(default=default, metadata=told | {"method": method})


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
        self._points: list[EntryPoint] | None = None

    def register(self, plugin: T) -> T:
        """Class decorator: add a plug-in under its own `name`."""
        if plugin.name in self._found:
            message = f"two {self.kind}s are called {plugin.name!r}"
            raise ValueError(message)
        self._found[plugin.name] = plugin
        return plugin

    def discover(self) -> dict[str, T]:
        """Import every module of the package and every entry point, once; all plug-ins by name."""
        points = self._waiting()
        while points:
            self._take(points.pop(0))
        return dict(sorted(self._found.items()))

    def get(self, name: str) -> T:
        """The plug-in of that name, or of `module:Class`; no other package's is imported for one of ours.

        Raises UsageError with the nearest name, PluginError where it cannot be used.
        """
        if ":" in name:
            return self._outside(name)
        points = self._waiting()
        if name not in self._found:
            for point in [point for point in points if point.name == name]:
                points.remove(point)
                self._take(point)
        if name in self.broken:
            raise PluginError(f"{self.kind} {name!r}: {self.broken[name]}")
        if name not in self._found:
            known = self.discover()
            near = did_you_mean(name, known) or f" (known: {', '.join(known)})"
            raise UsageError(f"unknown {self.kind} {name!r}{near}")
        return self._found[name]

    def _waiting(self) -> list[EntryPoint]:
        """The entry points not yet looked into; our own modules are imported with the first question."""
        if self._points is None:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._points = list(entry_points(group=self._group))
        return self._points

    def _take(self, point: EntryPoint) -> None:
        """Add another package's plug-in, or note why not."""
        source = f"{point.value} of {point.dist.name if point.dist else 'an unknown package'}"
        try:
            self._found[point.name] = self._named(point)
        except PluginError as error:
            name = point.value if point.name in self._found else point.name
            self.broken[name] = f"{source} cannot be used: {error}"

    def _named(self, point: EntryPoint) -> T:
        """The plug-in of an entry point. Raises PluginError where it has none of its own by that name."""
        plugin = self._sound(asked(point.load))
        if plugin.name != point.name:
            raise PluginError(f"calls itself {plugin.name!r}, its entry point {point.name!r}")
        if self._found.get(point.name, plugin) is not plugin:
            raise PluginError(f"{point.name!r} is taken already")
        return plugin

    def _sound(self, plugin: T) -> T:
        """The plug-in. Raises PluginError where it does not keep the contract."""
        if problems := asked(lambda: self._problems(plugin)):
            raise PluginError("; ".join(problems))
        return plugin

    def _outside(self, name: str) -> T:
        """Raises UsageError where nothing is found under that name, PluginError where it is of no use."""
        place, _, attribute = name.partition(":")
        told = f"{self.kind} {name!r}"
        try:
            module = asked(lambda: _imported(place))
            if module is None:
                raise UsageError(
                    f"{told}: there is no module {place!r}, installed or beside the suite"
                )
            plugin = asked(lambda: getattr(module, attribute, None))
            if plugin is None:
                near = did_you_mean(attribute, vars(module))
                raise UsageError(f"{told}: there is no {attribute!r} in {place}{near}")
            return self._sound(plugin)
        except PluginError as error:
            raise PluginError(f"{told} cannot be used: {error}") from error


def _imported(place: str) -> ModuleType | None:
    """The module; None where there is none, which is not a module that lacks another."""
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if f"{place}.".startswith(f"{error.name}."):
            return None
        raise


def asked(of_somebody: Callable[[], Any], told: str = "") -> Any:  # noqa: ANN401 (whatever it gives)
    """What code of somebody else gives. Raises PluginError, one line, where it raises or ends the process."""
    try:
        return of_somebody()
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # it may raise anything
        line = next(iter(str(error).splitlines()), "")
        raise PluginError(f"{told}{type(error).__name__}: {line}".removesuffix(": ")) from error


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
            most=field.metadata.get("most"),
            choices=tuple(field.metadata.get("choices", ()) or _literals(hints[field.name])),
            file=field.metadata.get("file", False),
            reader=field.metadata.get("reader", ""),
            method=field.metadata.get("method", False),
        )
        for field in dataclasses.fields(plugin)
    )


def misfit(plugin: type[Any], name: str, words: Iterable[str]) -> list[str]:
    """How a function differs from the contract's, which is called with its arguments in order."""
    signature, words = inspect.signature(getattr(plugin, name)), list(words)
    try:
        signature.bind(None, *words)
    except TypeError:
        given = list(signature.parameters)[1:]
        return [f"{name}({', '.join(given)}) must be {name}({', '.join(words)})"]
    return []


def lacks(plugin: object, contract: type[Any], words: Iterable[str]) -> list[str]:
    """What a class lacks of a contract, each as a clause. words: what it must say as class attributes."""
    if not (inspect.isclass(plugin) and issubclass(plugin, contract)):
        return [f"is no subclass of {contract.__module__}.{contract.__name__}"]
    told = [f"says no {word}" for word in words if not getattr(plugin, word, None)]
    if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
        told.append(f"does not define {' and '.join(missing)}")
    how = getattr(plugin, "__dataclass_params__", None)
    if not (how and how.frozen):
        return [*told, "is no frozen dataclass, whose fields are its settings"]
    return told + _settings_problems(plugin)


def unlike(
    plugin: Any,  # noqa: ANN401 (what claims to be one)
    contract: type[Any],
    says: Iterable[str],
    signatures: Mapping[str, Iterable[str]],
) -> list[str]:
    """Why a class is no plug-in of a contract that a plug-in may be calibrated by, each as a clause.

    says: what it must say as class attributes. signatures: the arguments of its functions, by name.
    """
    told = lacks(plugin, contract, says)
    if not (inspect.isclass(plugin) and issubclass(plugin, contract)):
        return told
    for name, words in signatures.items():
        told += misfit(plugin, name, words)
    of: type[Any] = plugin
    if of.calibrated and of.calibrate is contract.calibrate:
        told.append("says that it is calibrated, and does not define calibrate")
    return told


def _settings_problems(plugin: type[Any]) -> list[str]:
    """Why a class's fields cannot be settings, each as a clause."""
    hints = typing.get_type_hints(plugin)
    told = []
    for field in dataclasses.fields(plugin):
        if not (hints[field.name] in {int, float, bool, str} or _literals(hints[field.name])):
            told.append(f"setting {field.name!r} is neither int, float, bool nor str")
        if field.default is dataclasses.MISSING:
            told.append(f"setting {field.name!r} has no default")
    return told


def _literals(hint: object) -> tuple[str, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def _kind(hint: object) -> str:
    if _literals(hint):
        return "str"
    return typing.cast("Callable[..., Any]", hint).__name__
