"""Every attribution class of Captum's has a name here, or a refusal that says why and what to do."""

import inspect
import warnings

import captum.attr
import pytest
import torch
from captum.attr import Attribution
from torch import nn

from trimkit import Trim
from trimkit.attributions import captum as adapters
from trimkit.errors import UnknownNameError
from trimkit.registry import available, create


def classes():
    """Captum's attribution classes."""
    found = [value for name in captum.attr.__all__ if inspect.isclass(value := getattr(captum.attr, name))]
    return sorted(kind.__name__ for kind in found if issubclass(kind, Attribution))


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, 3)
    return nn.Sequential(*layers).double()


@pytest.mark.parametrize("name", classes())
def test_every_class_of_captums_is_here_or_refused_with_the_reason(name):
    if f"captum:{name}" in available("attributions"):
        assert issubclass(getattr(adapters, name), adapters.CaptumAttribution)
        return
    with pytest.raises(UnknownNameError, match=rf"^captum:{name} (scores|is|adds|needs) .*\.$"):
        create("attribution", f"captum:{name}")


def test_all_classes_were_looked_at():
    refused = [name for name in classes() if f"captum:{name}" not in available("attributions")]
    assert len(classes()) - len(refused) == len([name for name in available("attributions") if "captum:" in name])
    assert {"InternalInfluence", "LayerActivation", "LayerConductance", "LLMAttribution"} <= set(refused)
    assert len([name for name in refused if name.startswith("Neuron")]) == 10


def test_a_name_that_is_not_captums_is_unknown():
    with pytest.raises(UnknownNameError, match=r"There is no attribution 'captum:Salient'\. Did you mean"):
        create("attribution", "captum:Salient")


def test_the_way_out_of_layer_attributions():
    """As the message says: what follows the layer is explained in the space of its activations."""
    with pytest.raises(UnknownNameError, match=r"head, tail = model\[:3\], model\[3:\]") as refusal:
        create("attribution", "captum:LayerIntegratedGradients")
    example = "Trim(tail, 'identity', 'integrated_gradients')(head(x), y, baseline=head(x0))"
    assert example in str(refusal.value)
    model = network()
    x, y = torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    x0 = torch.zeros_like(x)
    names = {"model": model, "x": x, "x0": x0, "y": y, "Trim": Trim}
    exec("head, tail = model[:3], model[3:]", names)
    found = eval(example, names)
    layer = captum.attr.LayerIntegratedGradients(model, model[2])
    expected = layer.attribute(x, x0, target=y, n_steps=32).detach()
    assert torch.allclose(found.scores, expected, atol=1e-7)


@pytest.mark.parametrize("unit", [2, (2,), lambda hidden: hidden[:, 0] + hidden[:, 4]])
def test_the_way_out_of_neuron_attributions_gives_their_numbers(unit):
    with pytest.raises(UnknownNameError, match=r"equals the plain attribution on the model cut there") as refusal:
        create("attribution", "captum:NeuronIntegratedGradients")
    example = "Trim(head, 'identity', 'integrated_gradients')(x, unit)"
    assert example in str(refusal.value)
    model = network()
    x = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    fixed = example.replace("'integrated_gradients'", "('integrated_gradients', {'n_steps': 32, 'tolerance': None})")
    found = eval(fixed, {"head": model[:4], "x": x, "unit": unit, "Trim": Trim})
    layer = captum.attr.NeuronIntegratedGradients(model, model[3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Captum's remark on functions of a layer
        expected = layer.attribute(x.requires_grad_(), unit, n_steps=32).detach()
    assert torch.allclose(found.scores, expected, atol=1e-7)
