"""Training of a reuse policy by the examples of traces.

    loss = -mean(label ln p + (1 - label) ln(1 - p)), by Adam (arXiv 1412.6980) over all examples at once

The network learns from inputs of mean 0 and spread 1, which its first layer takes over at the end: what is
written is the bare network. An input that never varied teaches nothing, and is not looked at. Held-out
samples choose nothing, neither when to stop nor what to keep. float64 on the CPU; the same traces and seed
give the same policy on the same machine.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ditbench.reuse.policy import INPUTS, Policy, answers, sigmoid
from ditbench.train.examples import Examples, check_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.floating]
    Layers = tuple[tuple[Numbers, Numbers], ...]

_RATE = 0.01
_FIRST, _SECOND = 0.9, 0.999  # of Adam's running means, of gradients and of their squares
_TINY = 1e-8
_STILL = 1e-6  # a range below this, of 1 and the mean, is rounding


@dataclass(frozen=True)
class Course:
    """How to train. tolerance: the largest error of a reuse that is worth it."""

    tolerance: float = 0.05
    epochs: int = 500
    seed: int = 7


def fit(known: Examples, course: Course) -> Policy:
    """The policy that these examples teach. Raises UsageError where there is nothing to tell apart."""
    check_classes(known, "to learn from", course.tolerance)
    labels = known.labels(course.tolerance)
    middle, spread = known.inputs.mean(axis=0), known.inputs.std(axis=0)
    varies = np.ptp(known.inputs, axis=0) > _STILL * (1 + np.abs(middle))
    over = np.where(varies, 1 / np.where(varies, spread, 1), 0)  # of what never varied, nothing
    drawn = tuple(
        (w.astype(float), b.astype(float)) for w, b in Policy.untrained(course.seed).layers
    )
    layers = descend(drawn, (known.inputs - middle) * over, labels, course.epochs)
    (weight, bias), *rest = layers
    weight = weight * over
    taken = ((weight, bias - weight @ middle), *rest)
    policy = Policy(tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in taken))
    about = {
        "trained": "yes",
        **known.about,
        "tolerance": f"{course.tolerance:g}",
        "epochs": str(course.epochs),
        "seed": str(course.seed),
        "examples": str(len(known)),
        "loss": f"{cross_entropy(policy.probabilities(known.inputs), labels):.6f}",
        "ignored": ", ".join(name for name, one in zip(INPUTS, varies, strict=True) if not one),
        "samples": json.dumps(known.samples),
    }
    return Policy(policy.layers, about)


def descend(layers: Layers, inputs: Numbers, labels: Numbers, epochs: int) -> Layers:
    """The layers after so many steps of Adam, each over all examples."""
    flat = [part for layer in layers for part in layer]
    means, squares = ([np.zeros_like(part) for part in flat] for _ in range(2))
    for epoch in range(1, epochs + 1):
        slopes = [part for layer in gradients(_paired(flat), inputs, labels) for part in layer]
        for at, slope in enumerate(slopes):
            means[at] = _FIRST * means[at] + (1 - _FIRST) * slope
            squares[at] = _SECOND * squares[at] + (1 - _SECOND) * slope**2
            size = np.sqrt(squares[at] / (1 - _SECOND**epoch)) + _TINY
            flat[at] = flat[at] - _RATE * means[at] / (1 - _FIRST**epoch) / size
    return _paired(flat)


def _paired(flat: Sequence[Numbers]) -> Layers:
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def gradients(layers: Layers, inputs: Numbers, labels: Numbers) -> Layers:
    """Of the mean loss, in the shapes of the layers."""
    given = [inputs, *answers(layers, inputs)]
    back = (sigmoid(given[-1]) - labels[:, None]) / len(labels)
    found = []
    for number in reversed(range(len(layers))):
        found.append((back.T @ given[number], back.sum(axis=0)))
        back = (back @ layers[number][0]) * (1 - given[number] ** 2)
    return tuple(reversed(found))


def cross_entropy(p: Numbers, labels: Numbers) -> float:
    """The mean loss of probabilities, in nats; held from zero and one by rounding's least step."""
    held = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(held) + (1 - labels) * np.log(1 - held)))
