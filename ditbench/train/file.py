"""A training file, read as strictly as a suite: every mistake at once, each with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ditbench.attention.base import METHODS
from ditbench.catalog import Catalog, Method
from ditbench.catalog import Model as Offered
from ditbench.errors import PluginError
from ditbench.extractors import fashion_cnn
from ditbench.models.base import MODELS, Model, made, presets
from ditbench.records import Choice
from ditbench.registry import asked, settings_of
from ditbench.suite import plugins
from ditbench.suite.cursor import At, Problems
from ditbench.suite.kinds import kind_of
from ditbench.suite.parse import read as read_text
from ditbench.suite.yaml12 import Fields, Leaf, compose
from ditbench.train.features import Features
from ditbench.train.spec import Arm, Quality, Sampling, Shared, Training

_FOLDER = re.compile(r"[A-Za-z0-9][\w.+-]*")
_PREDICTS = ("epsilon", "v_prediction")


def read(file: Path) -> Training | Features:
    """The training file, checked. Raises SuiteError with every mistake."""
    problems = Problems()
    root = At(compose(read_text(file), str(file)), "", problems)
    found = _features(root) if _is_of_features(root) else _training(root)
    problems.tell()
    assert found is not None  # noqa: S101 (else a mistake was told)
    return found


def _is_of_features(root: At) -> bool:
    parts = root.node.fields if isinstance(root.node, Fields) else {}
    named = parts.get("model")
    return isinstance(named, Leaf) and named.value == fashion_cnn.NAME


def _features(root: At) -> Features | None:
    settings = {setting.name: setting for setting in settings_of(Features)}
    given = root.fields([*settings, "model"])
    root.require(given, "name", "data")
    values = {
        name: kind_of(settings[name]).read(at) for name, at in given.items() if name != "model"
    }
    return Features(**values) if {"name", "data"} <= values.keys() else None


def _training(root: At) -> Training | None:
    settings = {setting.name: setting for setting in settings_of(Shared)}
    parts: Mapping[str, type[Any]] = {"sampling": Sampling, "quality": Quality}
    given = root.fields([*settings, "model", "arms", *parts])
    root.require(given, "name", "data")
    values: dict[str, Any] = {
        name: kind_of(settings[name]).read(at) for name, at in given.items() if name in settings
    }
    values |= {name: _part(at, parts[name]) for name, at in given.items() if name in parts}
    values["arms"] = _arms(root, given)
    if None in values.values() or not {"name", "data"} <= values.keys():
        return None
    training = Training(**values)
    _agree(given, training)
    return training


def _part(at: At, kind: type[Any]) -> Any:  # noqa: ANN401 (of that kind)
    settings = {setting.name: setting for setting in settings_of(kind)}
    given = at.fields(settings, "setting")
    values = {name: kind_of(settings[name]).read(child) for name, child in given.items()}
    return None if None in values.values() else kind(**values)


def _arms(root: At, given: Mapping[str, At]) -> tuple[Arm, ...] | None:
    """Those of `arms`, or the one of `model`."""
    if ("model" in given) == ("arms" in given):
        there = "both are given" if "model" in given else "'arms' is missing"
        root.wrong(f"{there}: write arms: {{name: {{model: ...}}}}, or model: for one network")
        return None
    catalog = offered()
    if "model" in given:
        model = _model(given["model"], catalog)
        return (Arm("", model),) if model else None
    named = given["arms"]
    if not isinstance(named.node, Fields) or not named.node.fields:
        named.wrong("must be a mapping such as {dit: {model: dit}, unet: {model: unet}}")
        return None
    found = [_arm(name, named.child(name), catalog) for name in named.node.fields]
    arms = tuple(arm for arm in found if arm)
    if len(arms) < len(found) or not _are_of_one_kind(named, arms):
        return None
    return arms


def _arm(name: str, at: At, catalog: Catalog) -> Arm | None:
    given = at.fields(("model", "attention"))
    at.require(given, "model")
    if not _FOLDER.fullmatch(name):
        at.wrong("an arm's name is its folder: letters, digits and . _ + - alone")
        return None
    model = _model(given["model"], catalog) if "model" in given else None
    attention = _method(given["attention"], catalog) if "attention" in given else None
    lost = "attention" in given and attention is None
    return Arm(name, model, attention) if model and not lost else None


def _model(at: At, catalog: Catalog) -> Choice | None:
    """One that can be built, and learned from pictures with a class each."""
    chosen = plugins.model(at, catalog)
    if chosen is None:
        return None
    try:
        spec: Model = asked(lambda: made(chosen.name, dict(chosen.settings)))
        wrong = asked(spec.problems) or _unlearnable(spec)
    except PluginError as error:
        wrong = [str(error)]
    for problem in wrong:
        at.wrong(problem)
    return None if wrong else chosen


def _unlearnable(spec: Model) -> list[str]:
    """Why pictures with a class each do not teach this model, each as a clause."""
    told = []
    if spec.prediction not in _PREDICTS:
        told.append(f"training knows models of {' and '.join(_PREDICTS)}, not of {spec.prediction}")
    if spec.learned_variance:
        told.append("training teaches no variance: write out_channels: as many as channels")
    conditions = asked(lambda: spec.conditions(0, range(1)))
    if [(one.dtype, one.ndim) for one in conditions] != [(torch.long, 1)]:
        told.append(f"{spec.name} is told more than a class, and the data say nothing else")
    return told


def _method(at: At, catalog: Catalog) -> Choice | None:
    """One method; a list would be an axis, and an arm has none."""
    found = plugins.spread(at, plugins.METHODS, catalog)
    if found is None:
        return None
    if found.count != 1:
        at.wrong("one value for each setting: another is another arm")
        return None
    return next(found.choices())


def _are_of_one_kind(named: At, arms: tuple[Arm, ...]) -> bool:
    """Arms differ in network and attention alone: the same pictures, the same noise, the same question."""
    first, *others = arms
    wanted, fine = _asked_of(first.spec), True
    for arm in others:
        for name, value in _asked_of(arm.spec).items():
            if value != wanted[name]:
                told = f"{name} {value} where {first.name} has {wanted[name]}"
                named.child(arm.name).wrong(
                    f"{told}: arms may differ in network and attention alone"
                )
                fine = False
    seen: dict[tuple[Choice, Choice | None], str] = {}
    for arm in arms:
        twin = seen.setdefault((arm.model, arm.attention), arm.name)
        if twin != arm.name:
            named.child(arm.name).wrong(f"the same as {twin}")
            fine = False
    return fine


def _asked_of(spec: Model) -> dict[str, Any]:
    return {
        "latent": "x".join(map(str, spec.latent)),
        "prediction": spec.prediction,
        "betas": spec.betas,
        "classes": getattr(spec, "classes", "none"),
    }


def _agree(given: Mapping[str, At], training: Training) -> None:
    """What single keys cannot tell."""
    share, left = divmod(training.batch_size, training.processes)
    picture = training.process.pixels or training.vae
    # Of what may be wrong by default, the file's name is told, which is always given.
    wrong = {
        "epochs": (training.steps and training.epochs, "steps are given too: one of the two"),
        "features": (training.features and not training.vae, "of which VAE? give vae: too"),
        "vae": (training.vae and training.process.pixels, "these models make pictures themselves"),
        "quality": (
            training.quality and not picture,
            "these latents are no pictures: give vae: too",
        ),
        "sampling": (
            training.sampling.guidance_scale > 1 and not training.label_dropout,
            "guidance asks for the null class, which label_dropout: 0 never trains",
        ),
        "name": (
            training.label_dropout and not all(arm.spec.null_class for arm in training.arms),
            "a network here has no null class for label_dropout (0.1): write label_dropout: 0",
        ),
        "processes": (
            left or not share,
            f"batch_size {training.batch_size} is not {training.processes} equal parts",
        ),
    }
    for key, (holds, cause) in wrong.items():
        if holds and key in given:
            given[key].wrong(cause)


def offered() -> Catalog:
    """All models and methods with their settings, for the readers that suites have too."""
    methods = {
        name: Method(name, settings_of(plugin), place=plugin.__module__)
        for name, plugin in METHODS.discover().items()
    }
    fixed = {
        name: Offered(name, architecture=_architecture(preset.model))
        for name, preset in presets().items()
    }
    free = {
        name: Offered(name, settings_of(plugin), _architecture(plugin()))
        for name, plugin in MODELS.discover().items()
    }
    return Catalog(methods, free | fixed)


def _architecture(model: Model) -> tuple[tuple[str, Any], ...]:
    return tuple((one.name, getattr(model, one.name)) for one in settings_of(type(model)))
