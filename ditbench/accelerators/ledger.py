"""What an accelerator really skipped: seen from inside of what it wraps.

Under every hook that an accelerator puts around a module lies one of ours, which knows whether the module's
own forward ran and on how many rows. At the end of each forward of the network the modules that did not run
were spared, whatever the accelerator says. So a cache that is installed and does nothing cannot pass for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.hooks.hooks import CacheContext, HookRegistry, ModelHook, _set_cache_context
from torch import nn

from ditbench.accelerators.base import Host
from ditbench.attention.base import Moment
from ditbench.attention.memory import ALL, Decision, alive
from ditbench.reuse.gating import NOTHING_KEPT

_WATCH = "ditbench_watch"
# What hooks leave on a module: the forward that they wrap, and diffusers' list of them.
_TRACES = ("forward", "_diffusers_hook")


@dataclass(frozen=True)
class Words:
    """What people are told of a forward: why it was spared, why it ran all the same, or in part."""

    reused: str
    computed: str = "its turn to compute"
    partly: str = "for some of the rows"


class _Watch(ModelHook):  # type: ignore[misc]  # diffusers is not typed
    """The innermost hook: how many rows the module's own forward was given, 0 where it did not run."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, ARG002 (a module's own)
        """Note the rows of the first tensor."""
        given = (one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor))
        self.rows = max(self.rows, len(next(given)))
        return args, kwargs


class Ledger:
    """A handle that watches modules of a network while something else hooks them.

    watched: by name. words: of the decisions. Made before the accelerator puts its hooks in, closed after.
    """

    def __init__(self, host: Host, watched: Mapping[str, nn.Module], words: Words) -> None:
        self._host, self._words, self.network = host, words, host.network
        self._begin: Callable[[Moment], None] = lambda _first: None
        self._before = {
            module: (dict(vars(module)), set(module._modules))  # noqa: SLF001 (what else a hook may leave)
            for module in host.network.modules()
        }
        self._watches = {name: _Watch() for name in watched}
        self._told: dict[str, list[Decision]] = {name: [] for name in watched}
        for name, module in watched.items():
            _registry(module).register_hook(self._watches[name], _WATCH)
        self._ends = (
            host.network.register_forward_pre_hook(self._enter, with_kwargs=True),
            host.network.register_forward_hook(self._leave),
        )
        self._rows = 0

    def close(
        self, begin: Callable[[Moment], None] | None = None, *, of_hooked: bool = True
    ) -> None:
        """All of diffusers' hooks are in. begin: told the first moment.

        of_hooked: tell of the modules that have a hook, and not of those that others may skip.
        """
        self._begin = begin or self._begin
        if of_hooked:
            self._told = {
                name: told
                for name, told in self._told.items()
                if len(_hooks(self._host.network.get_submodule(name))) > 1
            }
        # Without a context some hooks refuse to run; one for all, for guidance is one forward of more rows.
        _set_cache_context(self._host.network, CacheContext("all"))

    def at(self, now: Moment) -> None:
        """The first step begins the run."""
        if now.step == 0:
            self._begin(now)

    def decisions(self) -> Mapping[str, Sequence[Decision]]:
        """By module, one a forward of the network."""
        return {name: tuple(told) for name, told in self._told.items()}

    @property
    def cache_bytes(self) -> int:
        """Of every block of memory that a hook's state keeps alive, each once."""
        return alive(_held(self.held()))

    def held(self) -> object:
        """Where what is kept lies: in the states of hooks."""
        return [_hooks(module) for module in self._before]

    def uninstall(self) -> None:
        """Take out every hook; what they held is freed at once, and not when Python finds the circle."""
        _registry(self._host.network).reset_stateful_hooks()
        for end in self._ends:
            end.remove()
        for module, (before, parts) in self._before.items():
            for name in vars(module).keys() - before.keys():
                del vars(module)[name]
            for name in module._modules.keys() - parts:  # noqa: SLF001 (likewise)
                del module._modules[name]  # noqa: SLF001 (likewise)
            vars(module).update({name: before[name] for name in _TRACES if name in before})

    def _enter(self, _network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = (one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor))
        self._rows = len(next(given))
        for watch in self._watches.values():
            watch.rows = 0

    def _leave(self, *_: object) -> None:
        step = self._host.now().step
        for name, told in self._told.items():
            told.append(self._decided(step, self._watches[name].rows / self._rows, first=not told))

    def _decided(self, step: int, share: float, *, first: bool) -> Decision:
        if share == 1:
            reason = NOTHING_KEPT if first else self._words.computed
            return Decision(step, reused=False, reason=reason)
        reason = self._words.partly if share else self._words.reused
        return Decision(step, reused=True, reason=reason, ran=ALL if share else "", rows=share)


def _registry(module: nn.Module) -> HookRegistry:
    return HookRegistry.check_if_exists_or_initialize(module)


def hooks_of(network: nn.Module, name: str) -> list[Any]:
    """Every hook of that name in a network."""
    return [
        hook
        for module in network.modules()
        for hook in _hooks(module)
        if _registry(module).hooks.get(name) is hook
    ]


def _hooks(module: nn.Module) -> list[ModelHook]:
    registry = vars(module).get("_diffusers_hook")
    return list(registry.hooks.values()) if registry else []


def _held(thing: object) -> Iterator[torch.Tensor]:
    """Tensors within, but for those of modules and functions, which are not kept from step to step."""
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        yield from _held(list(thing.values()))
    elif isinstance(thing, list | tuple | set):
        for one in thing:
            yield from _held(one)
    elif (
        hasattr(thing, "__dict__")
        and not isinstance(thing, nn.Module | type)
        and not callable(thing)
    ):
        inside = {name: one for name, one in vars(thing).items() if name != "fn_ref"}
        yield from _held(inside)
