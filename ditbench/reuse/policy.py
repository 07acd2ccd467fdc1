"""A small network that says whether a reuse is worth its error (after the DQAR project's policy).

    p = sigmoid(w3 tanh(W2 tanh(W1 x + b1) + b2) + b3), 32 units wide
    x = [H, ln SNR, ln |z|, t / (T - 1), min(words, 128) / 128]
    1,281 numbers, 1,216 multiply-adds a decision

H: entropy of the attention that is kept, in nats a row. SNR: of the state that the network is given; |z|: the
state's norm; words: of the prompt. ln SNR is held within that of 0.01 and 100, as in the project: it is
infinite at either end of a run, and beyond these one side is all there is. Untrained, its numbers are drawn
from U(-0.1, 0.1), biases zero, and what it answers is close to a half whatever it is asked: a policy that
nobody trained is a coin that fell when its seed was chosen.

float32 on the CPU, by numpy: what it is asked are numbers already, and no device is waited for.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ditbench.errors import UsageError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.floating]

# What it is asked, in this order.
INPUTS = ("entropy", "log_snr", "log_norm", "step_share", "prompt")
LOG_SNR_BOUND = math.log(100)
LONGEST_PROMPT = 128  # words; a longer one is as long as this

FORMAT = "ditbench reuse policy 1"
_WIDTH = 32
# Of each layer: units out, units in.
SHAPES = ((_WIDTH, len(INPUTS)), (_WIDTH, _WIDTH), (1, _WIDTH))
# As the tensors of each layer are called in a file.
_NAMES = tuple((f"{number}.weight", f"{number}.bias") for number in range(len(SHAPES)))
_NAMED = ", ".join(INPUTS)
_ABOUT = "policy"  # the entry of a file's metadata that says what it is, in JSON
_AND = "; "  # between several of what a policy was trained on
# As traces tell a network, and a method that reuses outputs.
_TRACED = re.compile(r"(.+?), weights .+, \S+ ([0-9]+) steps, ")
_OUTPUT = re.compile(r"[\[,]mode=output[],]")
_SPREAD = 0.1  # of untrained weights, on either side of zero


def scaled(seen: Sequence[float]) -> tuple[float, ...]:
    """What the network is given of [entropy, log_snr, log_norm, step_share, prompt in words]."""
    entropy, log_snr, log_norm, step_share, prompt = seen
    held = min(max(log_snr, -LOG_SNR_BOUND), LOG_SNR_BOUND)
    return entropy, held, log_norm, step_share, min(prompt, LONGEST_PROMPT) / LONGEST_PROMPT


def answers(layers: Sequence[tuple[Numbers, Numbers]], inputs: Numbers) -> list[Numbers]:
    """What each layer gives, in its dtype, from scaled inputs (rows, 5): the last the logits (rows, 1)."""
    found = [inputs]
    for number, (weight, bias) in enumerate(layers, start=1):
        out = found[-1] @ weight.T + bias
        found.append(out if number == len(layers) else np.tanh(out))
    return found[1:]


def sigmoid(logits: Numbers) -> Numbers:
    """1 / (1 + exp(-x)), without overflow at either end."""
    half: Numbers = 0.5 * (1 + np.tanh(0.5 * logits))
    return half


@dataclass(frozen=True, eq=False)
class Policy:
    """The network. layers: weight (out, in) and bias (out,) of each, float32.

    about: how it came to be, by name, in words: seed, and of a trained one the traces and its loss.
    """

    layers: tuple[tuple[Numbers, Numbers], ...]
    about: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def untrained(cls, seed: int = 7) -> Policy:
        """Drawn, and nothing learned. Python's own generator, whose numbers are the same in every version."""
        draw = random.Random(seed)  # noqa: S311 (nothing secret)
        layers = tuple(
            (
                np.array(
                    [[draw.uniform(-_SPREAD, _SPREAD) for _ in range(units)] for _ in range(out)],
                    dtype=np.float32,
                ),
                np.zeros(out, dtype=np.float32),
            )
            for out, units in SHAPES
        )
        return cls(layers, {"trained": "no", "seed": str(seed)})

    @classmethod
    def read(cls, data: bytes, place: str = "policy") -> Policy:
        """From a file's bytes. place: of the file, for messages. Raises UsageError."""
        try:
            about = _metadata(data)
            tensors = load(data)
        except KeyError as error:  # numpy has no bfloat16
            raise _none(place, f"it has numbers of type {error}, not float32") from error
        except (SafetensorError, ValueError, AttributeError, TypeError, RecursionError) as error:
            raise _none(place, f"no safetensors file ({one_line(str(error))})") from error
        if about.pop("format", "") != FORMAT or about.pop("inputs", "") != _NAMED:
            raise _none(place, f"its metadata does not say {FORMAT}, and {_NAMED} as its inputs")
        if wrong := _wrong(tensors):
            raise _none(place, wrong)
        return cls(tuple((tensors[w], tensors[b]) for w, b in _NAMES), about)

    def write(self) -> bytes:
        """The file's bytes, which `read` takes; the same policy gives the same bytes."""
        pairs = zip(_NAMES, self.layers, strict=True)
        tensors = {
            name: part for names, layer in pairs for name, part in zip(names, layer, strict=True)
        }
        told = {"format": FORMAT, "inputs": _NAMED, **self.about}
        # One entry: safetensors writes several in an order of its own, another at each time.
        return save(tensors, {_ABOUT: json.dumps(told, sort_keys=True)})

    def elsewhere(self, model: str, mode: str, steps: int) -> list[str]:
        """What it was trained on that a cell is not, each as a clause; empty where it does not say."""
        traced = [_TRACED.match(one) for one in self.about.get("model", "").split(_AND)]
        methods = [
            one for one in self.about.get("method", "").split(_AND) if one.startswith("dqar")
        ]
        taught = {
            "model": ({one[1] for one in traced if one}, model),
            "mode": ({"output" if _OUTPUT.search(one) else "kv" for one in methods}, mode),
            "steps": ({one[2] for one in traced if one}, str(steps)),
        }
        return [
            f"{what} {' and '.join(sorted(theirs))}, not {ours}"
            for what, (theirs, ours) in taught.items()
            if theirs and ours not in theirs
        ]

    def probability(
        self, entropy: float, log_snr: float, log_norm: float, step_share: float, prompt: float
    ) -> float:
        """That a reuse is worth it. prompt: in words; the others as above. Any number may be infinite."""
        row = scaled((entropy, log_snr, log_norm, step_share, prompt))
        return float(self.probabilities(np.array([row], dtype=np.float32))[0])

    def probabilities(self, inputs: Numbers) -> Numbers:
        """(rows,) of scaled inputs (rows, 5), in float32."""
        return sigmoid(answers(self.layers, inputs.astype(np.float32))[-1][:, 0])


def _metadata(data: bytes) -> dict[str, str]:
    """What a safetensors file says of itself: after eight bytes of length, in its head."""
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    told = json.loads(head.get(_ABOUT, "{}"))
    return {name: str(value) for name, value in told.items()} if isinstance(told, dict) else {}


def _wrong(tensors: Mapping[str, Numbers]) -> str:
    """Why these are not the numbers of a policy, as a clause; empty where they are."""
    wanted: dict[str, tuple[int, ...]] = {}
    for (weight, bias), shape in zip(_NAMES, SHAPES, strict=True):
        wanted |= {weight: shape, bias: shape[:1]}
    if {name: one.shape for name, one in tensors.items()} != wanted:
        return (
            f"its tensors are not {', '.join(f'{name} {shape}' for name, shape in wanted.items())}"
        )
    odd = [
        name
        for name, one in tensors.items()
        if one.dtype != np.float32 or not np.isfinite(one).all()
    ]
    return f"{odd[0]} is not of finite float32 numbers" if odd else ""


def _none(place: str, cause: str) -> UsageError:
    return UsageError(f"{place}: no reuse policy: {cause}; make one with `ditbench train-policy`")
