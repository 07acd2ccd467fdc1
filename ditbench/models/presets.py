"""Models by name: the twelve of the DiT paper, at two resolutions, and the one that ships with us."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ditbench.models.dit import DiT


@dataclass(frozen=True)
class Preset:
    """A registered name. hub: the repository with trained weights, or empty. embedded: ours ship."""

    model: DiT
    summary: str
    hub: str = ""
    embedded: bool = False


# depth, hidden, heads: table 1 of arXiv 2212.09748
_SIZES = {"s": (12, 384, 6), "b": (12, 768, 12), "l": (24, 1024, 16), "xl": (28, 1152, 16)}
_PATCHES = (2, 4, 8)
_RESOLUTIONS = (256, 512)

FASHION = DiT(
    hidden=128,
    depth=6,
    heads=4,
    patch=2,
    size=32,
    channels=1,
    out_channels=1,
    classes=10,
    prediction="v_prediction",
    betas="squaredcos_cap_v2",
)


def presets() -> dict[str, Preset]:
    """Every registered model by name; `dit-xl/2` is `dit-xl/2-256`."""
    found = {
        "fashion-dit": Preset(
            FASHION,
            "2.1 M parameters, trained on Fashion-MNIST, ships with ditbench",
            embedded=True,
        )
    }
    for size, (depth, hidden, heads) in _SIZES.items():
        for patch in _PATCHES:
            base = DiT(hidden=hidden, depth=depth, heads=heads, patch=patch)
            for resolution in _RESOLUTIONS:
                hub = f"facebook/DiT-XL-2-{resolution}" if (size, patch) == ("xl", 2) else ""
                found[f"dit-{size}/{patch}-{resolution}"] = Preset(
                    replace(base, size=resolution // 8),
                    f"DiT-{size.upper()}/{patch} of the paper at {resolution} pixels",
                    hub,
                )
            found[f"dit-{size}/{patch}"] = found[f"dit-{size}/{patch}-256"]
    return found
