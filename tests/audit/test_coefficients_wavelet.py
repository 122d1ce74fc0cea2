import pytest
import torch

from trimkit.audit.pictures import coefficient_figure, nested_subbands
from trimkit.transforms import AdaptiveWavelet, LaplacianPyramid, Wavelet


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 7, 9)], ids=str)
def test_subbands_take_the_place_of_the_picture(size):
    low, *details = Wavelet("haar", 2)(torch.randn(1, *size))
    parts = [low, *(band for level in details for band in level)]
    nested = nested_subbands([part[0, 0] for part in parts])
    assert nested.shape == size[1:]
    assert torch.equal(nested[: low.shape[-2], : low.shape[-1]], low[0, 0])
    rows, columns = details[-1][2].shape[-2:]
    assert torch.equal(nested[-rows:, -columns:], details[-1][2][0, 0])


@pytest.mark.parametrize("transform", [Wavelet(), AdaptiveWavelet("db2"), LaplacianPyramid()], ids=str)
@pytest.mark.parametrize("size", [(1, 16, 16), (2, 80)], ids=str)
def test_every_tree_has_a_figure(transform, size):
    with torch.no_grad():
        assert coefficient_figure(transform, transform(torch.randn(1, *size)), size)
