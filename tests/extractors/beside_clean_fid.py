"""clean-fid's own number for two folders of pictures, with our network: a program of its own.

Two operators are declared before torchvision is imported, which otherwise fails beside a torch for CPUs
(pytorch/vision#9085): its library for CUDA would have declared them. clean-fid uses neither.
"""

from __future__ import annotations

import sys

import torch

_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
declared = torch.library.Library("torchvision", "DEF")
declared.define(f"nms{_BOXES}")
declared.define(f"qnms{_BOXES}")

from cleanfid import fid  # noqa: E402 (after the declaration)

from ditbench.extractors import inception  # noqa: E402 (likewise)
from ditbench.extractors.parts.inception_network import Inception  # noqa: E402 (likewise)


def main(one: str, other: str) -> None:
    """The distance, on standard output."""
    network = Inception().eval()
    network.fill(inception._genuine(list(inception._kept())))

    def features(pictures: torch.Tensor) -> torch.Tensor:
        """Of pictures as clean-fid resized them, (n, 3, 299, 299) in 0..255."""
        with torch.inference_mode():
            return network((pictures - 128) / 128)[0].mean(dim=(2, 3))

    found = fid.compute_fid(
        one,
        other,
        mode="clean",
        custom_feat_extractor=features,
        num_workers=0,
        device=torch.device("cpu"),
        verbose=False,
    )
    print(f"{found:.12g}")  # noqa: T201 (the result)


if __name__ == "__main__":
    main(*sys.argv[1:])
