"""What `conformance` collects: names, expected failures, examples, and what it refuses."""

from __future__ import annotations

import sys

import pytest
import torch

from trimkit.errors import OptionError, PluginError, UnknownNameError
from trimkit.testing import BrokenPromise, Example, conformance, items_of, parametrize_with_checks
from trimkit.testing.pytest_items import _skipping

SOURCE = '''
import torch
from trimkit.hooks import MethodSpec, PenaltySpec, hookimpl
from trimkit.methods import Delta, LatentSpace, Method

TRIMKIT_API = 1

def sound(scores):
    """Sum of squares."""
    return scores.flatten(1).square().sum(1)

def needing(scores, *, index: int):
    """Square of one score."""
    return scores[:, index].square()

class Halves(Method):
    """Half of the data, in closed form."""
    def latent_spaces(self):
        return [LatentSpace("z", self.shape)]
    def encode(self, x, aux=None, space=None):
        return Delta(x / 2)
    def decode(self, z, space=None):
        return 2 * z
    def fit(self, x, aux=None):
        pass

@hookimpl
def trimkit_penalties():
    for name in ("sound", "needing"):
        yield PenaltySpec(name, f"{__name__}:{name}", "A penalty.")

@hookimpl
def trimkit_methods():
    yield MethodSpec("halves", f"{__name__}:Halves", "Half of the data.")
'''
WITH_INDEX = {"needing": Example({"index": 0})}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a plugin's module that is not installed."""
    (tmp_path / "fake_uninstalled.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "fake_uninstalled"
    sys.modules.pop("fake_uninstalled", None)


def names(items):
    return [item.id for item in items]


def test_there_is_one_item_a_promise_and_a_part(module):
    items = names(items_of(module))
    assert {"penalty-sound-rows", "penalty-needing-rows", "method-halves-as_transform"} <= set(items)
    assert len(set(items)) == len(items)


def test_the_module_itself_will_do_too(module):
    __import__(module)
    assert names(items_of(sys.modules[module])) == names(items_of(module))


def test_several_examples_are_numbered(module):
    items = names(items_of(module, {"needing": [Example({"index": 0}), Example({"index": 1})]}, kinds=("penalty",)))
    assert {"penalty-needing-0-rows", "penalty-needing-1-rows"} <= set(items)
    assert not any("halves" in name for name in items)


def test_light_items_are_a_part_of_all(module):
    assert set(names(items_of(module, light=True))) < set(names(items_of(module)))


def test_an_item_leaves_randomness_and_warnings_as_they_are(module):
    before = torch.get_rng_state()
    for item in items_of(module, kinds=("penalty",), examples=WITH_INDEX):
        item()
    assert torch.equal(before, torch.get_rng_state())


def test_what_cannot_be_guessed_says_how_to_tell_it(module):
    (item,) = [item for item in items_of(module) if item.id == "penalty-needing-rows"]
    with pytest.raises(BrokenPromise, match=r"missing a required argument: 'index'.*examples=\{'needing': Example"):
        item()


def test_a_promise_that_a_part_does_not_make_is_skipped(module):
    (item,) = [item for item in items_of(module) if item.id == "method-halves-resume"]
    with pytest.raises(pytest.skip.Exception, match="fitted in closed form"):
        _skipping(item)()


def test_conformance_is_a_test_with_a_parameter_a_promise(module):
    test = conformance(module, examples=WITH_INDEX)
    (mark,) = test.pytestmark
    assert [parameter.id for parameter in mark.args[1]] == names(items_of(module, WITH_INDEX))
    mark.args[1][0].values[0]()


def test_an_expected_failure_is_strict_and_has_its_reason(module):
    mark = parametrize_with_checks(module, expected_failures={"penalty-needing-*": "no index"})
    marks = {parameter.id: parameter.marks for parameter in mark.args[1]}
    (xfail,) = marks["penalty-needing-rows"]
    assert xfail.kwargs == {"reason": "no index", "strict": True}
    assert not marks["penalty-sound-rows"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"expected_failures": {"penalty-soud-rows": "?"}}, "which is no test. Did you mean 'penalty-sound-rows'"),
        ({"expected_failures": {"penalty-sound-rows": " "}}, "expected a reason for 'penalty-sound-rows', got none"),
        ({"examples": {"soud": Example()}}, "which is no part of this plugin. Did you mean 'sound'?"),
    ],
)
def test_names_of_nothing_are_refused(module, options, says):
    with pytest.raises(OptionError, match=says):
        conformance(module, **options)


def test_a_plugin_that_is_not_there_is_named():
    with pytest.raises(UnknownNameError, match=r"no plugin 'vea', installed or as a module. Did you mean 'vae'"):
        conformance("vea")


def test_a_plugin_that_is_not_loaded_gives_its_reason(module, tmp_path):
    (tmp_path / "fake_uninstalled.py").write_text(SOURCE.replace("TRIMKIT_API = 1", ""))
    with pytest.raises(PluginError, match="does not say which API"):
        conformance(module)


def test_a_module_that_cannot_be_imported_gives_its_reason(module, tmp_path):
    (tmp_path / "fake_uninstalled.py").write_text("import no_such_module_at_all")
    with pytest.raises(PluginError, match="No module named 'no_such_module_at_all'"):
        conformance(module)


def test_a_target_that_cannot_be_imported_breaks_its_first_promise(module, tmp_path):
    (tmp_path / "fake_uninstalled.py").write_text(SOURCE.replace("{__name__}:Halves", "{__name__}:Absent"))
    (item,) = items_of(module, kinds=("method",))
    with pytest.raises(BrokenPromise, match=r"method 'halves' .*Absent"):
        item()
