"""What a walk over a model's modules shows, and what is put back around a model."""

import pytest
import torch
from torch import nn

from trimkit.errors import ModelError
from trimkit.predictor.guards import Survey, is_finite, modules_of, refuse_wrappers, survey, unchanged
from trimkit.predictor.kernels import math_attention, math_in_backward


def test_a_function_has_no_modules():
    assert survey(torch.relu) == Survey()
    assert list(modules_of(torch.relu)) == []


def test_shared_and_nested_modules_are_met_once():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(nn.Tanh(), shared))
    assert set(modules_of(model)) == set(model.modules())
    assert len(list(modules_of(model))) == 4


def test_a_part_that_is_left_out_is_no_module():
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_module("shortcut", None)
    assert set(modules_of(model)) == {model, model[0]}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_script_is_walked_too():
    script = torch.jit.trace(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), torch.zeros(1, 2))
    assert len(list(modules_of(script))) == len(list(script.modules()))


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        (nn.Linear(2, 2), Survey(training=True)),
        (nn.BatchNorm1d(2), Survey(training=True, buffers=True, mixes=True)),
        (nn.Dropout(), Survey(training=True, drops=True)),
    ],
)
def test_modes_are_those_of_now(part, seen):
    model = nn.Sequential(nn.Tanh(), nn.Sequential(part))
    assert survey(model) == seen
    assert survey(model.eval()) == Survey()
    part.train()
    assert survey(model) == seen


def test_a_compiled_part_is_seen():
    inside = torch.compile(nn.Linear(2, 2), backend="eager")
    assert survey(nn.Sequential(inside)).compiled
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].compile(backend="eager")
    assert survey(model).compiled


def test_sharded_modules_are_refused_by_the_name_of_their_class():
    class FSDPModule(nn.Linear):
        pass

    with pytest.raises(ModelError, match="FSDP"):
        refuse_wrappers(nn.Sequential(FSDPModule(1, 1)))


def test_values_are_finite_also_where_their_sum_overflows():
    assert is_finite(torch.full((4, 2), 3e38))
    assert not is_finite(torch.tensor([[1.0, torch.inf, -torch.inf]]))
    assert not is_finite(torch.tensor([[torch.nan]]))


class Drawing(nn.Module):
    """Draws, counts, and replaces a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))

    def forward(self, x):
        self.count += 1
        self.last = torch.rand(2)
        return x


def test_buffers_and_the_random_state_are_as_before_also_after_an_exception():
    model = Drawing()
    buffers, state = dict(model._buffers), torch.get_rng_state()
    with pytest.raises(KeyError):
        _fail_after_a_call(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(model._buffers[name] is buffer for name, buffer in buffers.items())
    assert float(model.count) == 0


def test_the_kernels_of_attention_are_as_before():
    before = _enabled()
    with math_attention():
        assert _enabled() == (True, False, False, False)
        with math_attention():
            pass
        assert _enabled() == (True, False, False, False)
    assert _enabled() == before
    with pytest.raises(KeyError), math_attention():
        raise KeyError
    assert _enabled() == before


def test_the_backward_pass_of_a_result_has_the_kernels_too():
    seen = []
    x = torch.zeros(2, requires_grad=True)
    y = x * 2
    y.register_hook(lambda gradient: seen.append(_enabled()))
    before = _enabled()
    math_in_backward(y + 1).sum().backward()
    assert seen == [(True, False, False, False)]
    assert _enabled() == before


def _fail_after_a_call(model):
    with unchanged(model):
        model(torch.zeros(1))
        raise KeyError


def _enabled():
    cuda = torch.backends.cuda
    enabled = (cuda.math_sdp_enabled, cuda.flash_sdp_enabled, cuda.mem_efficient_sdp_enabled, cuda.cudnn_sdp_enabled)
    return tuple(get() for get in enabled)


def test_a_distributed_model_of_another_version_without_its_static_graph_is_not_refused():
    class DistributedDataParallel(nn.Module):
        """As in versions that have no static graphs."""

        def __init__(self, module):
            super().__init__()
            self.module = module

    assert survey(DistributedDataParallel(nn.Linear(2, 2))).refusal is None
