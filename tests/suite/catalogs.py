"""A catalog made by hand, so that suites are tested without torch."""

from __future__ import annotations

from ditbench.catalog import Accelerator, Catalog, Extractor, Method, Model, Setting


def _method(name, *settings, exact=False):
    return Method(name, settings, exact)


_DIT = (
    Setting("hidden", "int", 384, least=8),
    Setting("depth", "int", 12, least=1),
    Setting("prediction", "str", "epsilon", choices=("epsilon", "v_prediction")),
)


def _model(name, depth, *, settings=(), embedded=False, hub=""):
    sizes = {"hidden": 384, "depth": depth, "heads": 6, "patch": 2, "size": 32, "channels": 4}
    architecture = (*sizes.items(), ("prediction", "epsilon"))
    return Model(name, settings, architecture, embedded, hub, "", told="classes")


CATALOG = Catalog(
    methods={
        method.name: method
        for method in (
            _method("softmax", exact=True),
            _method(
                "sdpa", Setting("backend", "str", "auto", choices=("auto", "math")), exact=True
            ),
            _method(
                "monarch",
                Setting("block_size", "int", 16, least=1),
                Setting("num_steps", "int", 3, least=1),
            ),
            _method(
                "nystromformer",
                Setting("rank", "int", 32, least=1),
                Setting("reuse_az", "bool", True),
                Setting("ridge", "float", 0.5, least=0.0),
            ),
            _method(
                "sparing",
                Setting("core", "str", "sdpa", method=True),
                Setting("share", "float", 0.5, least=0, most=1),
                Setting("bits", "int", 8, least=2, most=8),
                Setting("schedule", "str", "linear", choices=("linear", "reverse", "exponential")),
            ),
            _method("their.package:Theirs", Setting("rank", "int", 8)),
            Method("their.package:Broken", broken="ValueError: as it was imported"),
        )
    },
    nowhere={"their.package:Their": "there is no 'Their' in their.package"},
    models={
        model.name: model
        for model in (
            _model("small", 6, embedded=True),
            _model("large", 28, hub="owner/large"),
            _model("dit", 12, settings=_DIT),
            Model("their.model:Broken", broken="ValueError: as it was imported"),
        )
    },
    accelerators={
        one.name: one
        for one in (
            Accelerator("none"),
            Accelerator(
                "pab",
                (Setting("every", "int", 2, least=1), Setting("below", "int", 800, least=0)),
            ),
            Accelerator("their.package:Cache"),
        )
    },
    extractors={
        one.name: one
        for one in (
            Extractor("small_net", dim=64),
            Extractor(
                "inception",
                (
                    Setting("weights", "str", ""),
                    Setting("resize", "str", "tf", choices=("tf", "clean")),
                ),
                dim=2048,
            ),
            Extractor("broken_net", broken="ValueError: as it was imported"),
        )
    },
)
