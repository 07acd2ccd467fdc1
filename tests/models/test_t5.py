"""Texts are read as the hub's own encoder reads them, and as nothing else."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path

import pytest
import torch

from ditbench.errors import UsageError
from ditbench.models import t5, weights
from ditbench.models.texts import Texts

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from tiny_pixart import CONFIG, pieces, save_encoder, tensors

IDS = torch.tensor([[5, 3, 22, 11, 20, 6, 4, 1, 0, 0], [1] + [0] * 9, [*range(7, 16), 1]])
# By T5EncoderModel of transformers 5.23.0, from the same tensors: the first three numbers of the first text's
# first word, the last three of the last text's last, and the squared length of each text's first word.
GOLDEN = {
    "gated-gelu": (
        [-0.0811382532, -0.0700364485, 0.4023757577],
        [-0.0170712415, -0.4287576377, -0.7271026373],
        [1.2198905945, 2.3160402775, 2.2456481457],
    ),
    "relu": (
        [0.0411661901, 0.5640562177, 0.3433029652],
        [-0.7686609030, -0.4279604256, -0.0266872719],
        [1.2220214605, 2.2989773750, 2.3179688454],
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("pipe"))


@pytest.mark.parametrize("way", GOLDEN)
def test_the_encoder_is_that_of_transformers(way):
    config = {**t5._USUAL, **CONFIG, "feed_forward_proj": way}
    found = t5._Encoder(config, tensors(feed_forward_proj=way))(IDS, (IDS != 0).long())
    first, last, sizes = map(torch.tensor, GOLDEN[way])
    assert torch.allclose(found[0, 0, :3], first, atol=1e-6)
    assert torch.allclose(found[2, 9, 9:], last, atol=1e-6)
    assert torch.allclose(found[:, 0].square().sum(-1), sizes, rtol=1e-5)


def test_padding_changes_nothing_of_the_words_before_it(folder):
    short, long = (t5.read(folder, ["a red shoe"], words) for words in (9, 40))
    count = int(short.mask.sum())
    assert count == int(long.mask.sum()) < 9
    assert torch.allclose(short.embeddings[:, :count], long.embeddings[:, :count], atol=1e-6)


def test_texts_are_told_apart_in_lower_case_and_cut_with_their_end(folder):
    found = t5.read(folder, ["A Red SHOE ", "a red shoe", "", "two bags and one coat"], 6)
    assert torch.equal(found.embeddings[0], found.embeddings[1])
    assert found.mask.sum(1).tolist()[2:] == [1, 6]
    assert not torch.equal(found.embeddings[1], found.embeddings[3])
    (numbers,) = t5._pieces(folder / "tokenizer/spiece.model", ["two bags and one coat"], 6)
    assert numbers[-1] == 1


def test_each_text_is_read_once_and_told_how_long_it_is(folder, monkeypatch):
    asked = []
    read = t5.read
    monkeypatch.setattr(t5, "read", lambda *a: (asked.append(a[1]), read(*a))[1])
    texts = Texts(folder, 20, CONFIG["d_model"])
    texts.read(["a red shoe", "", "a red shoe"])
    of = texts.of(["", "a red shoe", ""])
    assert asked == [["a red shoe", ""]]
    assert of.embeddings.shape == (3, 20, CONFIG["d_model"])
    assert texts.length(["a red shoe", ""]) == (int(of.mask[1].sum()) + 1) / 2


def test_an_encoder_of_another_width_is_refused(folder):
    with pytest.raises(UsageError, match="12 wide, and not the 16 that the network takes"):
        Texts(folder, 20, 16).read(["a"])


def test_an_index_of_several_files_is_read_as_one(folder, tmp_path):
    from safetensors.torch import save_file

    save_encoder(tmp_path)
    (tmp_path / "text_encoder/model.safetensors").unlink()
    parts = list(tensors().items())
    names = {}
    for number, some in enumerate((parts[:7], parts[7:])):
        save_file(dict(some), tmp_path / f"text_encoder/part-{number}.safetensors")
        names |= dict.fromkeys(dict(some), f"part-{number}.safetensors")
    index = tmp_path / "text_encoder/model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    whole, apart = (t5.read(one, ["a red shoe"], 9).embeddings for one in (folder, tmp_path))
    assert torch.equal(whole, apart)


def _without_tensor(folder):
    from safetensors.torch import save_file

    kept = {name: one for name, one in tensors().items() if "wi_0" not in name}
    save_file(kept, folder / "text_encoder/model.safetensors")


def _of_another_family(folder):
    config = json.dumps({**CONFIG, "model_type": "clip_text_model"})
    (folder / "text_encoder/config.json").write_text(config)


SPOILED = {
    "no tensor": (_without_tensor, "the weights lack encoder.block.0.layer.1.DenseReluDense.wi_0.weight"),
    "family": (_of_another_family, "no encoder of T5: needs model_type t5"),
    "torn": (lambda f: (f / "text_encoder/model.safetensors").write_bytes(b"{}"), "cannot be read"),
    "no pieces": (lambda f: (f / "tokenizer/spiece.model").write_bytes(b"x"), "no model of sentencepiece"),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_encoder_is_refused_in_one_line(how, tmp_path):
    spoil, told = SPOILED[how]
    spoil(save_encoder(tmp_path))
    with pytest.raises(UsageError) as refused:
        t5.read(tmp_path, ["a"], 4)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_missing_is_told_with_the_way_out(tmp_path):
    (why,) = weights.unread("pixart", str(tmp_path))
    assert "text_encoder/config.json and no tokenizer/spiece.model" in why
    assert "leave prompts out" in why
    (why,) = weights.unread("pixart", "random")
    assert "random weights have no text encoder" in why


def test_without_sentencepiece_the_package_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def lost(name, *args):
        if name == "sentencepiece":
            raise ImportError(name)
        return real(name, *args)

    save_encoder(tmp_path)
    monkeypatch.setattr(builtins, "__import__", lost)
    (why,) = t5.lacking(tmp_path)
    assert why.endswith('pip install "ditbench[text]"')


def test_an_encoder_s_identity_is_that_of_its_files(folder, tmp_path):
    save_encoder(tmp_path)
    assert t5.identity(tmp_path) == t5.identity(folder)
    (tmp_path / "tokenizer/spiece.model").write_bytes(pieces() + b" ")
    assert t5.identity(tmp_path) != t5.identity(folder)
