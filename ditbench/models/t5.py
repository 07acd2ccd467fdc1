"""Texts as T5's encoder reads them (Raffel et al., 2020, arXiv 1910.10683; gated: Shazeer, arXiv 2002.05202).

    x <- x + attention(norm(x)),  x <- x + feed-forward(norm(x)),  norm(x) = w x / sqrt(mean(x^2) + eps)
    scores = q k^T + b(key - query), not scaled; b is one table for all blocks, by buckets of distances

Read from a folder in the hub's layout, `text_encoder` and `tokenizer` beside a network: weights through
safetensors, pieces through sentencepiece. Written anew because the package transformers costs every command
two seconds as soon as it is installed: diffusers imports it, and this is the one network of it that we need.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import gelu, linear, relu

from ditbench.errors import UsageError, one_line

ENCODER, TOKENIZER = "text_encoder", "tokenizer"
WANTED = (f"{ENCODER}/*.json", f"{ENCODER}/*.safetensors", f"{TOKENIZER}/spiece.model")
_PIECES = f"{TOKENIZER}/spiece.model"
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SIZES = ("d_model", "d_kv", "num_heads", "num_layers")
# What T5 takes where a configuration does not say.
_USUAL: Mapping[str, Any] = {
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "relu",
}
_FEED_FORWARD = ("relu", "gated-gelu")
_PAD, _END = 0, 1
_BATCH = 16

Tensors = Mapping[str, torch.Tensor]


class Read(NamedTuple):
    """Embeddings (texts, words, width), float32, and a mask (texts, words): 1 for each word of a text."""

    embeddings: torch.Tensor
    mask: torch.Tensor


def lacking(folder: Path) -> list[str]:
    """Why texts cannot be read by what lies beside a network, each with the way out; empty where they can."""
    found = []
    try:
        import sentencepiece  # noqa: F401, PLC0415 (an optional package, which most suites never need)
    except ImportError:
        found.append('prompts need the package sentencepiece: pip install "ditbench[text]"')
    missing = [
        name for name in (f"{ENCODER}/config.json", _PIECES) if not (folder / name).is_file()
    ]
    if missing:
        found.append(
            f"no text encoder lies beside the weights ({folder} has no {' and no '.join(missing)}): give a "
            "folder that has the pipeline whole, or leave prompts out for random embeddings"
        )
    return found


def identity(folder: Path) -> str:
    """A digest of encoder and tokenizer."""
    told = hashlib.sha256()
    for path in sorted((*(folder / ENCODER).glob("*.safetensors"), folder / _PIECES)):
        told.update(hashlib.sha256(path.read_bytes()).digest())
    return f"sha256 {told.hexdigest()}"


def read(folder: Path, texts: Sequence[str], words: int) -> Read:
    """Texts as the encoder of a folder reads them, in lower case, cut or padded to so many words.

    On the CPU in float32. The encoder is gone when this returns. Raises UsageError.
    """
    encoder = _Encoder.of(folder / ENCODER)
    ids = torch.tensor(list(_pieces(folder / _PIECES, texts, words)))
    mask = (torch.arange(words) < (ids != _PAD).sum(1, keepdim=True)).long()
    with torch.inference_mode():
        parts = [
            encoder(*both)
            for both in zip(torch.split(ids, _BATCH), torch.split(mask, _BATCH), strict=True)
        ]
    return Read(torch.cat(parts).clone(), mask)


def _pieces(path: Path, texts: Sequence[str], words: int) -> Iterator[list[int]]:
    """Numbers of pieces, the mark of the end, and padding."""
    import sentencepiece  # noqa: PLC0415 (as above)

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path}: no model of sentencepiece ({one_line(str(error))})") from error
    for text in texts:
        ids = [*processor.encode(text.lower().strip())[: words - 1], _END]
        yield ids + [_PAD] * (words - len(ids))


@dataclass(frozen=True)
class _Encoder:
    """tensors: by their names in the hub's files."""

    config: Mapping[str, Any]
    tensors: Tensors

    @classmethod
    def of(cls, folder: Path) -> _Encoder:
        """Raises UsageError where the folder holds no encoder of this family."""
        config = {**_USUAL, **_json(folder / "config.json")}
        wrong = [name for name in _SIZES if not isinstance(config.get(name), int)]
        if config.get("model_type") != "t5" or config["feed_forward_proj"] not in _FEED_FORWARD:
            wrong.append("model_type t5 with feed_forward_proj relu or gated-gelu")
        if wrong:
            raise UsageError(f"{folder}/config.json: no encoder of T5: needs {', '.join(wrong)}")
        found = cls(config, _tensors(folder))
        lost = sorted(set(found.needed()) - found.tensors.keys())
        if lost:
            raise UsageError(f"{folder}: the weights lack {lost[0]} and {len(lost) - 1} more")
        return found

    def needed(self) -> Iterator[str]:
        """Names of all tensors that are read."""
        yield from ("shared.weight", "encoder.final_layer_norm.weight", _BIAS)
        ways = (
            ("wi", "wo") if self.config["feed_forward_proj"] == "relu" else ("wi_0", "wi_1", "wo")
        )
        parts = [*(f"0.SelfAttention.{part}" for part in "qkvo"), "0.layer_norm", "1.layer_norm"]
        parts += [f"1.DenseReluDense.{way}" for way in ways]
        for block in range(self.config["num_layers"]):
            yield from (f"encoder.block.{block}.layer.{part}.weight" for part in parts)

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(texts, words, width) of numbers of pieces (texts, words)."""
        x = self.tensors["shared.weight"][ids].float()
        bias = self._bias(ids.shape[1]) + torch.where(mask[:, None, None] > 0, 0.0, -math.inf)
        for block in range(self.config["num_layers"]):
            name = f"encoder.block.{block}.layer"
            x = x + self._attention(f"{name}.0", x, bias)
            x = x + self._feed_forward(f"{name}.1", x)
        return self._norm("encoder.final_layer_norm", x)

    def _through(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.tensors[f"{name}.weight"].float())

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        epsilon = self.config["layer_norm_epsilon"]
        size = (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()
        normed: torch.Tensor = self.tensors[f"{name}.weight"].float() * x * size
        return normed

    def _attention(self, name: str, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """bias: (texts or 1, heads, words, words), added to the scores."""
        inner = self._norm(f"{name}.layer_norm", x)
        q, k, v = (
            torch.unflatten(
                self._through(f"{name}.SelfAttention.{part}", inner),
                -1,
                (self.config["num_heads"], -1),
            ).transpose(1, 2)
            for part in "qkv"
        )
        out = torch.softmax(q @ k.mT + bias, dim=-1) @ v
        return self._through(f"{name}.SelfAttention.o", out.transpose(1, 2).flatten(2))

    def _feed_forward(self, name: str, x: torch.Tensor) -> torch.Tensor:
        inner, name = self._norm(f"{name}.layer_norm", x), f"{name}.DenseReluDense"
        if self.config["feed_forward_proj"] == "relu":
            return self._through(f"{name}.wo", relu(self._through(f"{name}.wi", inner)))
        gate = gelu(self._through(f"{name}.wi_0", inner), approximate="tanh")
        return self._through(f"{name}.wo", gate * self._through(f"{name}.wi_1", inner))

    def _bias(self, words: int) -> torch.Tensor:
        """(1, heads, words, words): of each query and key, by how far the key stands behind it."""
        places = torch.arange(words)
        apart = self._bucket(places[None] - places[:, None])
        return self.tensors[_BIAS].float()[apart].permute(2, 0, 1)[None]

    def _bucket(self, apart: torch.Tensor) -> torch.Tensor:
        """Half of them for each direction; of these half for a distance each, the rest by its logarithm."""
        half: int = self.config["relative_attention_num_buckets"] // 2
        single, far = half // 2, self.config["relative_attention_max_distance"]
        distance = apart.abs()
        scaled = torch.log(distance.clamp(min=1) / single) / math.log(far / single)
        grown = (single + (scaled * (half - single)).long()).clamp(max=half - 1)
        return half * (apart > 0).long() + torch.where(distance < single, distance, grown)


_BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read ({one_line(str(error))})") from error


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Of one file, or of those that an index names."""
    names = {_WHOLE}
    if not (folder / _WHOLE).is_file():
        names = {Path(name).name for name in _json(folder / _INDEX).get("weight_map", {}).values()}
    found: dict[str, torch.Tensor] = {}
    for name in sorted(names):
        try:
            found |= load_file(folder / name)
        except (SafetensorError, OSError, ValueError) as error:
            raise UsageError(f"{folder / name}: cannot be read ({one_line(str(error))})") from error
    return found
