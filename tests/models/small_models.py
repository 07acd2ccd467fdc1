"""One small architecture of each registered model, and of each variant that attends in another way."""

from __future__ import annotations

from ditbench.models.dit import DiT
from ditbench.models.dummy import Dummy
from ditbench.models.flux import Flux
from ditbench.models.gqa_dit import GqaDiT
from ditbench.models.ltx import LTX
from ditbench.models.pixart import PixArt
from ditbench.models.sana import Sana
from ditbench.models.sd3 import SD3
from ditbench.models.unet import UNet

_TEXT = {"words": 5, "word_width": 12}

SMALL = {
    "dit": DiT(hidden=32, depth=2, heads=2, size=8, classes=10),
    "pixart": PixArt(hidden=32, depth=2, heads=2, size=8, **_TEXT),
    "sd3": SD3(hidden=32, depth=2, heads=2, size=8, channels=4, places=4, whole_width=8, **_TEXT),
    "sd3.5": SD3(
        hidden=32, depth=2, heads=2, size=8, channels=4, places=4, whole_width=8, dual=1, norm=True,
        **_TEXT,
    ),
    "flux": Flux(
        hidden=32, depth=3, double=1, heads=2, size=4, channels=8, whole_width=8, guidance=3.5, **_TEXT
    ),
    "sana": Sana(hidden=32, depth=2, heads=4, cross_heads=2, size=4, channels=8, **_TEXT),
    "sana-1.5": Sana(
        hidden=32, depth=2, heads=4, cross_heads=2, size=4, channels=8, norm=True, **_TEXT
    ),
    "gqa-dit": GqaDiT(hidden=32, depth=2, heads=4, kv_heads=2, patch=2, size=8, null_class=True),
    "dqar-dummy": Dummy(depth=2),
    "unet": UNet(hidden=16, growth=2, heads=2, size=8, null_class=True),
    "ltx": LTX(hidden=32, depth=2, heads=2, frames=2, height=2, width=4, channels=8, **_TEXT),
}  # fmt: skip
