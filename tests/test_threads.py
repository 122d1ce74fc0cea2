"""Many threads that explain one model get what one thread gets, and leave the process as it was."""

import copy
import os
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from trimkit import FrozenPredictor, Trim
from trimkit.attributions.captum.forward import isolated
from trimkit.errors import TrimkitWarning
from trimkit.predictor.rows import keyed_draws
from trimkit.predictor.turns import alone, process_wide, unwrapped
from trimkit.registry import available, create

THREADS, CALLS = 32, 64
OPTIONS = {
    "captum:ShapleyValues": {"groups": "coefficients"},
    "captum:GuidedGradCam": {"layer": "1"},
    "captum:Lime": {"n_samples": 40},
    "captum:KernelShap": {"n_samples": 40},
}
OWN = [name for name in available("attributions") if not name.startswith("captum:")]
CAPTUM = [name for name in available("attributions") if name.startswith("captum:")]


def network(side=4):
    torch.manual_seed(0)
    width = 2 * (side - 2) ** 2
    layers = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, 3)
    return nn.Sequential(*layers).double().eval()


def samples(side=4):
    return torch.randn(3, 1, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def many(work, calls=CALLS):
    """Results of ``work(i)`` in many threads that begin together."""
    gate = threading.Barrier(THREADS)

    def begin(i):
        if i < THREADS:
            gate.wait()
        return work(i)

    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore", TrimkitWarning)
        return list(pool.map(begin, range(calls)))


def assert_alike(results, expected):
    assert sum(not torch.allclose(scores, expected, rtol=1e-9, atol=1e-12) for scores in results) == 0


def hooks(model):
    return [h for m in model.modules() for h in (*m._forward_hooks, *m._forward_pre_hooks, *m._backward_hooks)]


@pytest.mark.filterwarnings("ignore::trimkit.errors.TrimkitWarning")
@pytest.mark.parametrize("name", CAPTUM)
def test_one_trim_with_a_name_of_captums(name):
    side = 2 if name == "captum:ShapleyValues" else 4
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double() if side == 2 else network()
    trim, x = Trim(model, attribution=create("attribution", name, **OPTIONS.get(name, {}))), samples(side)
    expected = trim(x, 1).scores
    assert_alike(many(lambda _: trim(x, 1).scores), expected)
    assert hooks(model) == []


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("at", [None, "1"])
def test_one_trim_with_a_name_of_trimkits(name, at):
    trim, x = Trim(network(), attribution=name, at=at), samples()
    expected = trim(x, 1).scores
    assert_alike(many(lambda _: trim(x, 1).scores), expected)
    assert hooks(trim.model) == []
    assert "forward" not in vars(trim.model[0])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # as torch.compile is imported
def test_a_model_and_what_wraps_it_have_one_lock():
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    frozen = FrozenPredictor(model)
    wrapped = (nn.DataParallel(model), torch.compile(model), torch.compile(nn.DataParallel(model)))
    assert all(unwrapped(wrapper) is model for wrapper in (model, *wrapped))
    assert unwrapped(frozen) is frozen.inner
    assert all(alone(wrapper) is alone(model) for wrapper in wrapped)
    assert alone(other) is not alone(model)


def test_a_wrapper_that_lost_its_model_is_a_model_itself():
    empty = nn.DataParallel(nn.Linear(2, 2))
    del empty.module
    assert unwrapped(empty) is empty


def test_captums_hooks_are_not_seen_by_who_explains_the_same_model_otherwise():
    model, x = network(), samples()
    trims = [Trim(model, attribution=name) for name in ("captum:GuidedBackprop", "captum:DeepLift", "saliency")]
    trims += [Trim(FrozenPredictor(model), attribution="saliency"), Trim(model, attribution="saliency", at="3")]
    expected = [trim(x, 1).scores for trim in trims]
    results = many(lambda i: trims[i % 5](x, 1).scores)
    for i, scores in enumerate(expected):
        assert_alike(results[i::5], scores)


def test_a_model_that_is_called_while_a_layer_of_it_is_explained_gives_its_output():
    model, x = network(), samples()
    trim, expected = Trim(model, attribution="integrated_gradients", at="3"), model(x).detach()
    results = many(lambda i: trim(x, 1).scores[:, :3] if i % 2 else model(x).detach())
    assert_alike(results[::2], expected)


def test_features_of_a_frozen_predictor_are_those_of_the_threads_own_input():
    predictor, inputs = FrozenPredictor(network()), [samples() + i for i in range(CALLS)]
    expected = [predictor.features(x, ["0", "3"]) for x in inputs]
    for got, wanted in zip(many(lambda i: predictor.features(inputs[i], ["0", "3"])), expected, strict=True):
        assert all(torch.allclose(a, b) for a, b in zip(got, wanted, strict=True))


def test_models_with_draws_and_statistics_leave_the_random_states_and_buffers():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    trims = [Trim(copy.deepcopy(model), attribution=name) for name in ("saliency", "captum:GradientShap")]
    state, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    before = [buffer.clone() for buffer in model.buffers()]
    many(lambda i: trims[i % 2](samples(), 1).scores)
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpys).all()  # noqa: NPY002
    assert all(torch.equal(a, b) for t in trims for a, b in zip(t.model.buffers(), before, strict=True))


def test_keyed_and_isolated_draws_are_the_same_in_every_thread():
    def draw(i):
        if i % 2:
            with keyed_draws():
                return torch.rand(3)
        with isolated(torch.Generator().manual_seed(0)):
            return torch.rand(3)

    results = many(draw)
    assert len({tuple(values.tolist()) for values in results[::2]}) == 1
    assert len({tuple(values.tolist()) for values in results[1::2]}) == 1


def test_a_copy_of_the_process_does_not_wait_for_a_lock_that_a_thread_held():
    model, x = network(), samples()
    trim = Trim(model, attribution="captum:DeepLift")
    ready, done = threading.Event(), threading.Event()

    def hold():
        with alone(model), process_wide():
            ready.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is what is tested
        process = os.fork()
    if not process:
        os._exit(0 if trim(x, 1).scores.shape == x.shape else 1)
    done.set()
    thread.join()
    assert os.waitpid(process, 0)[1] == 0


def test_models_that_were_explained_are_copied_and_pickled_as_before():
    model, x = network(), samples()
    trim = Trim(model, attribution="captum:DeepLift")
    expected = trim(x, 1).scores
    for copied in (copy.deepcopy(trim), pickle.loads(pickle.dumps(trim))):
        assert torch.equal(copied(x, 1).scores, expected)
