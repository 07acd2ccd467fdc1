"""`flex`: what runs where, and a kernel of its own in compiled code."""

from __future__ import annotations

import pytest
import torch

from ditbench.attention.base import Site
from ditbench.attention.flex import Flex, _neighbours
from ditbench.attention.softmax import Softmax
from ditbench.measure.kernels import kinds_run

SITE = Site(block=0, depth=1, heads=2, head_dim=16, grid=(5, 8))


def views():
    """q, k and v as a model's projections hand them over: heads beside head_dim."""
    x = torch.randn(2, 40, 3, 2, 16, generator=torch.Generator().manual_seed(0))
    return tuple(x[:, :, n].transpose(1, 2) for n in range(3))


@pytest.mark.parametrize("window", [0, 3])
def test_eager_code_on_the_cpu_writes_the_scores_out_and_says_so(window):
    layer = Flex(window).open(SITE).method
    layer.attend(*views())
    assert kinds_run(lambda: layer.attend(*views())) == ("math",)


def test_a_mask_is_made_when_a_layer_is_opened_and_not_in_its_first_call():
    _neighbours.cache_clear()
    layer = Flex(3).open(SITE).method
    made = _neighbours.cache_info()
    layer.attend(*views())
    assert _neighbours.cache_info() == made
    assert made.misses == 1


def test_layers_of_one_grid_are_equal_so_that_compiled_code_stays():
    assert Flex(3).open(SITE) == Flex(3).open(SITE)
    assert Flex(3).open(SITE) != Flex(2).open(SITE)


@pytest.mark.long  # a C++ compiler, half a minute each
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own imports
@pytest.mark.parametrize("window", [0, 3])
def test_compiled_whole_it_is_one_kernel_that_computes_no_matrix_of_scores(window):
    layer, qkv = Flex(window).open(SITE).method, views()
    attend = torch.compile(layer.attend, fullgraph=True, dynamic=False)
    with torch.inference_mode():
        out = attend(*qkv)
        torch.testing.assert_close(out, layer.attend(*qkv))
        assert "math" not in kinds_run(lambda: attend(*qkv))
    if not window:
        torch.testing.assert_close(out, Softmax().attend(*qkv))
