"""Which networks look at a run's pictures, and what of them is missing on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ditbench import scores
from ditbench.datasets import open_dataset
from ditbench.errors import UsageError
from ditbench.extractors.base import Extractor, made
from ditbench.jobs import Quality
from ditbench.measure import real
from ditbench.measure.cost import spec_of
from ditbench.models.decoding import NONE, OWN
from ditbench.records import Cell, Choice
from ditbench.store import statistics

# The network of the small model that ships; of everything that it does not suit; and the one for pairs.
SMALL, USUAL, OF_PAIRS = "fashion_cnn", scores.INCEPTION, "lpips_alex"
PAIRED = "lpips"
Shape = tuple[int, ...]
# What an autoencoder makes: in colour, and of a size that no small network suits.
_DECODED = (256, 256, 3)


def of(choice: Choice) -> Extractor:
    """The network with its settings, not opened. Raises UsageError for a name that is none."""
    return made(choice.name, dict(choice.settings))


def chosen(quality: Quality, shape: Shape) -> tuple[Choice, ...]:
    """The networks in whose features pictures (height, width, channels) are judged."""
    named = tuple(one for one in quality.extractors if not of(one).pairs)
    return named or (Choice(SMALL if made(SMALL).suits(shape) else USUAL),)


def of_pairs(quality: Quality) -> Choice:
    """The network that compares two pictures."""
    named = (one for one in quality.extractors if one.name == OF_PAIRS)
    return next(named, Choice(OF_PAIRS))


def words(metrics: Iterable[str]) -> tuple[str, ...]:
    """Those of the metrics that are figures of a whole set."""
    return tuple(name for name in metrics if name in scores.WORDS)


def words_of(choice: Choice, asked: Iterable[str], among: Iterable[Choice]) -> tuple[str, ...]:
    """Those that one network of several is asked: what Inception alone has is not missed of the others."""
    answered = choice.name != USUAL and USUAL in {one.name for one in among}
    return tuple(word for word in words(asked) if not (answered and word == "sfid"))


def alone(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the words that look at no other pictures."""
    return tuple(word for word in asked if word == scores.ALONE)


def lacking(quality: Quality, metrics: tuple[str, ...], cells: tuple[Cell, ...]) -> list[str]:
    """What keeps the metrics from being measured here, each with the way out; empty means nothing.

    cells: those of the run, whose pictures they are.
    """
    found: dict[str, None] = {}
    needed = tuple(dict.fromkeys(_needed(quality, metrics, cells)))
    for choice in needed:
        name, network = choice.label, of(choice)
        for reason in network.unavailable():
            found[
                f"quality.extractors: {name} cannot be opened on this machine: {reason}; or take "
                f"{_asking(network, metrics)} out of the metrics, or name another network"
            ] = None
    if not found and quality.dataset and words(metrics) and "dataset" in quality.reference:
        found = dict.fromkeys(_unfit(quality.dataset, [one for one in needed if not of(one).pairs]))
    return list(found)


def in_vain(quality: Quality, metrics: tuple[str, ...], cells: tuple[Cell, ...]) -> list[str]:
    """Which of the figures asked no record will hold, with the way out, before hours go into pictures.

    cells: those of the run, whose pictures they are.
    """
    asked = words(metrics)
    shapes = {_shape(model, weights, quality.vae) for model, weights in _models(cells)} - {()}
    found: dict[str, None] = {}
    for shape in shapes if asked else ():
        among = chosen(quality, shape)
        for choice in among:
            told = words_of(choice, asked, among)
            found |= dict.fromkeys(_unanswered(of(choice), told))
            found |= dict.fromkeys(_unreferenced(choice, told, quality))
    return [f"will not be measured: {what}" for what in found]


def _unanswered(network: Extractor, asked: tuple[str, ...]) -> Iterator[str]:
    """Of the words those for which the network lacks a layer."""
    if "sfid" in asked and not network.spatial:
        yield f"sfid in {network.name} features: only {USUAL} has those; name it, or leave sfid out"
    if scores.ALONE in asked and network.headless:
        yield f"{scores.ALONE} in {network.name} features: {network.headless}"


def _unreferenced(choice: Choice, asked: tuple[str, ...], quality: Quality) -> Iterator[str]:
    """Of the words those that need more of the real pictures than ships with the network: moments at most."""
    if "dataset" not in quality.reference or quality.dataset:
        return
    ships = ("frechet",) if choice.name == SMALL else ()
    if lost := [word for word in asked if word not in {*ships, scores.ALONE}]:
        what = "only moments of real pictures ship" if ships else "no real pictures ship"
        yield (
            f"{', '.join(lost)} against dataset in {choice.name} features: {what} with it; give "
            "quality.dataset, or leave dataset out of quality.reference"
        )


def _unfit(dataset: str, needed: list[Choice]) -> Iterator[str]:
    """Why the real pictures cannot be used, where they are of no use to any of the networks."""
    told = []
    try:
        if not real.is_statistics(dataset):
            open_dataset(dataset)
            return
        found = statistics.read(Path(dataset).expanduser())
        for choice in needed:
            try:
                statistics.check(found, of(choice).open().identity)
            except UsageError as error:
                told.append(str(error))
    except UsageError as error:
        yield f"quality.dataset: {error}"
        return
    if told and len(told) == len(needed):
        yield from (f"quality.dataset: {why}" for why in told)


def _needed(
    quality: Quality, metrics: tuple[str, ...], cells: tuple[Cell, ...]
) -> Iterator[Choice]:
    shapes = {_shape(model, weights, quality.vae) for model, weights in _models(cells)} - {()}
    yield from quality.extractors if shapes else ()
    if PAIRED in metrics and shapes:
        yield of_pairs(quality)
    for shape in shapes if words(metrics) else ():
        yield from chosen(quality, shape)


def _models(cells: tuple[Cell, ...]) -> Iterable[tuple[Choice, str]]:
    return dict.fromkeys((cell.model, cell.weights) for cell in cells if not cell.op)


def _shape(model: Choice, weights: str, vae: str) -> Shape:
    """Of the model's pictures; empty where its latents are none, and nothing will decode them."""
    spec = spec_of(model)
    if not spec.pixels:
        decoded = vae != NONE and not (vae == OWN and weights == "random")
        return _DECODED if decoded else ()
    channels, height, width = spec.latent
    return height, width, channels


def _asking(network: Extractor, metrics: tuple[str, ...]) -> str:
    asked = [
        name for name in metrics if (name == PAIRED if network.pairs else name in scores.WORDS)
    ]
    return ", ".join(asked) or "the network"


def suited(network: Extractor, shape: Shape) -> None:
    """Raises UsageError where a network makes no sense of such pictures."""
    if not network.suits(shape):
        told = "x".join(map(str, shape))
        raise UsageError(f"{network.name} makes no sense of pictures of {told}")
