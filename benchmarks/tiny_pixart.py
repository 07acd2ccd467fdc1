"""A tiny PixArt in the hub's layout, with what reads its texts, for suites with prompts on any machine.

    python benchmarks/tiny_pixart.py FOLDER
    ditbench run suites/seeds/dqar-text.yaml --set weights=FOLDER

Its encoder is a T5 of a few thousand numbers that follow from a formula, its network random with open gates.
What they read and paint means nothing; the code that runs is that of large ones.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file

from ditbench.models.pixart import PixArt

LINES = ("a red shoe", "a white dress on a chair", "two bags and one coat", "the shirt of a sailor",
         "sandals in the sand", "a pair of old trousers")  # fmt: skip
PIECES = 34
CONFIG = {
    "model_type": "t5", "vocab_size": PIECES, "d_model": 12, "d_kv": 4, "d_ff": 20, "num_layers": 2,
    "num_heads": 2, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
# The model of suites/seeds/dqar-text.yaml.
SPEC = PixArt(hidden=32, depth=4, heads=2, size=8, words=24, word_width=12)


def tensors(**change: object) -> dict[str, torch.Tensor]:
    """Each a wave of its own, by its name in the hub's files."""
    config = CONFIG | change
    dim, inner, wide = config["d_model"], config["num_heads"] * config["d_kv"], config["d_ff"]
    gated = config["feed_forward_proj"] != "relu"
    shapes = {"shared.weight": (PIECES, dim), "encoder.final_layer_norm.weight": (dim,)}
    for block in range(config["num_layers"]):
        name = f"encoder.block.{block}.layer"
        shapes |= {f"{name}.0.SelfAttention.{part}.weight": (inner, dim) for part in "qkv"}
        shapes |= {f"{name}.0.SelfAttention.o.weight": (dim, inner)}
        shapes |= {f"{name}.{part}.layer_norm.weight": (dim,) for part in "01"}
        ways = ("wi_0", "wi_1") if gated else ("wi",)
        shapes |= {f"{name}.1.DenseReluDense.{way}.weight": (wide, dim) for way in ways}
        shapes |= {f"{name}.1.DenseReluDense.wo.weight": (dim, wide)}
    bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    shapes[bias] = (config["relative_attention_num_buckets"], config["num_heads"])
    return {name: _wave(number, shapes[name]) for number, name in enumerate(sorted(shapes))}


def _wave(number: int, shape: tuple[int, ...]) -> torch.Tensor:
    size = torch.Size(shape).numel()
    return (0.5 * torch.sin(0.7 * torch.arange(size) + number)).reshape(shape)


def pieces() -> bytes:
    """A tokenizer of sentencepiece that knows LINES."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 4), model_writer=written, vocab_size=PIECES, pad_id=0,
        eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    return written.getvalue()


def save_encoder(folder: Path, **change: object) -> Path:
    """Encoder and tokenizer beside a network."""
    for name in ("text_encoder", "tokenizer"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "text_encoder/config.json").write_text(json.dumps(CONFIG | change))
    save_file(tensors(**change), folder / "text_encoder/model.safetensors")
    (folder / "tokenizer/spiece.model").write_bytes(pieces())
    return folder


def save(folder: Path, spec: PixArt = SPEC) -> Path:
    """Network, encoder and tokenizer."""
    torch.manual_seed(0)
    network = spec.build()
    spec.open_gates(network)
    network.save_pretrained(folder / "transformer")
    return save_encoder(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/tiny_pixart.py FOLDER")
    print(save(Path(sys.argv[1])))
