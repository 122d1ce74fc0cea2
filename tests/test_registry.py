"""Names, conflicts, and parts made from them."""

from __future__ import annotations

import functools
import json

import pytest

from trimkit import registry as module
from trimkit.errors import NameConflictError, OptionError, PluginError, ShapeError, UnknownNameError
from trimkit.hooks import KINDS, TransformSpec
from trimkit.registry import Registry

PARTS = """
from trimkit.errors import ShapeError
from trimkit.hooks import PenaltySpec, TransformSpec, hookimpl

TRIMKIT_API = 1

class Haar:
    def __init__(self, levels: int, norm: str = "ortho"):
        if levels == 0:
            raise ValueError("expected levels ≥ 1, got 0")
        if levels == -1:
            raise ShapeError("its own error")
        if levels == -2:
            raise RuntimeError("no disk")
        self.levels, self.norm = levels, norm

def soft(scores, *, power: float = 2.0):
    return scores ** power

def masked(scores, *, mask):
    return scores * mask

class Callable:
    def __init__(self, weight: float = 1.0):
        self.weight = weight

number = 3

@hookimpl
def trimkit_transforms():
    for name, target in {"haar": "Haar", "absent": "Har", "number": "number"}.items():
        yield TransformSpec(name, f"{__name__}:{target}", "")
    yield TransformSpec("lost", "no_such_module:Haar", "")
    yield TransformSpec("nested:name", f"{__name__}:Haar", "")

@hookimpl
def trimkit_penalties():
    yield PenaltySpec("soft", f"{__name__}:soft", "")
    yield PenaltySpec("must", f"{__name__}:masked", "")
    yield PenaltySpec("object", f"{__name__}:Callable", "")
"""


@pytest.fixture
def acme(site):
    site.add("acme-trim", PARTS)
    return site.registry()


@pytest.fixture
def conflict(site):
    site.add("acme-trim", PARTS)
    site.add("Other.Trim", PARTS.replace('{"haar":', '{"own": "Haar", "haar":'), version="2.5")
    return site.registry()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_is_singular_or_plural(acme, kind):
    assert acme.available(kind) == acme.available(KINDS[kind].kind)


def test_available_maps_names_to_specs_without_importing(acme):
    specs = acme.available("transforms")
    assert list(specs)[:4] == ["identity", "fft", "dct", "frequency_bands"]
    assert isinstance(specs["haar"], TransformSpec)
    assert specs["haar"] is acme.specification("transform", "acme-trim:haar")
    with pytest.raises(TypeError):
        specs["new"] = specs["haar"]


def test_an_unknown_kind(acme):
    with pytest.raises(UnknownNameError, match=r"no kind of part 'transfrom'\. Did you mean 'transforms'\?"):
        acme.available("transfrom")


@pytest.mark.parametrize("name", ["haar", "acme-trim:haar", "Acme_Trim:haar"])
def test_short_and_qualified_names(acme, name):
    assert acme.create("transform", name, levels=2).levels == 2


@pytest.mark.parametrize("name", ["nested:name", "acme-trim:nested:name"])
def test_a_name_may_contain_a_colon(acme, name):
    assert acme.create("transform", name, 1).levels == 1


def test_a_name_that_two_distributions_claim_belongs_to_neither(conflict):
    with pytest.raises(NameConflictError) as caught:
        conflict.create("transform", "haar", levels=1)
    for text in ("acme-trim 1.0", "Other.Trim 2.5", "'acme-trim:haar'", "'Other.Trim:haar'"):
        assert text in str(caught.value)
    assert conflict.create("transform", "acme-trim:haar", levels=1).levels == 1
    assert type(conflict.create("transform", "other-trim:haar", levels=1)).__module__.startswith("fake_other")
    names = set(conflict.available("transforms"))
    assert {"acme-trim:haar", "Other.Trim:haar", "own"} <= names
    assert "haar" not in names
    assert [record.state for record in conflict.plugins()] == ["loaded"] * 3


def test_a_name_of_trimkits_own_stays_its_own(site):
    source = PARTS.replace('"soft", f"', '"l1", f"').replace('"haar": "Haar"', '"fft": "Haar"')
    site.add("acme-trim", source)
    registry = site.registry()
    assert type(registry.create("transform", "fft")).__module__.startswith("trimkit.")
    assert registry.create("transform", "acme-trim:fft", levels=2).levels == 2
    assert registry.create("transform", "trimkit:fft").dims == registry.create("transform", "fft").dims
    assert registry.create("penalty", "l1").__module__.startswith("trimkit.")
    assert {"l1", "acme-trim:l1"} <= set(registry.available("penalties"))
    assert not {"trimkit:l1"} & set(registry.available("penalties"))
    (record,) = [record for record in registry.plugins() if record.name == "acme-trim"]
    assert record.state == "loaded"
    assert "the penalty 'l1' is trimkit's own: use 'acme-trim:l1' for this one" in record.reason
    assert all(not each.reason for each in registry.plugins() if each.name == "trimkit")


def test_an_object_is_not_a_name(acme):
    with pytest.raises(UnknownNameError, match="expected the name of a transform, got a object"):
        acme.create("transform", object())


def test_nearest_names_for_a_mistyped_one(acme):
    with pytest.raises(UnknownNameError, match=r"There is no transform 'har'\. Did you mean 'haar' or 'polar'\?$"):
        acme.create("transform", "har")
    with pytest.raises(UnknownNameError, match="Did you mean 'haar'"):
        acme.create("transform", "HAAR")


def test_all_names_where_none_is_near(acme):
    with pytest.raises(UnknownNameError, match=r"Known: .*hoyer, .*l1, .*masked, .*must, .*soft, "):
        acme.create("penalty", "qqq")


def test_a_name_of_another_kind_is_recognised(acme):
    with pytest.raises(UnknownNameError, match=r"There is no transform 'l1'\. It is a name of another kind: penalty\."):
        acme.create("transform", "l1")


@pytest.mark.parametrize(
    ("name", "distribution"), [("beta-vae", "trimkit-vae"), ("stylegan2", "trimkit-gan"), ("ivae", "trimkit-ica")]
)
def test_a_method_of_ours_that_is_not_installed(acme, name, distribution):
    with pytest.raises(UnknownNameError, match=f"It comes with {distribution}: pip install {distribution}"):
        acme.create("method", name)


def test_a_method_of_ours_that_is_installed_but_blocked(site):
    site.add("trimkit-vae", PARTS, plugin="vae")
    with pytest.raises(UnknownNameError, match=r"Not loaded: vae \(blocked\); see `trimkit plugins`"):
        site.registry(set()).create("method", "beta-vae")


def test_trimkit_that_is_not_installed_itself(site):
    with pytest.raises(UnknownNameError, match="trimkit itself is not installed"):
        Registry([]).create("transform", "fft")


def test_a_target_that_cannot_be_imported_names_the_distribution_and_the_cause(acme):
    with pytest.raises(PluginError, match=r"transform 'lost' of acme-trim 1\.0 .*No module named 'no_such_module'"):
        acme.create("transform", "lost")
    with pytest.raises(PluginError, match=r"transform 'absent' of acme-trim 1\.0 .*has no attribute 'Har'"):
        acme.create("transform", "absent")


def test_a_target_that_exits_the_interpreter(site):
    (site.folder / "fake_exiting.py").write_text("raise SystemExit('bye')")
    with pytest.raises(PluginError, match="cannot be imported from 'fake_exiting:x': SystemExit: bye"):
        module.load_target(TransformSpec("t", "fake_exiting:x", ""))


def test_a_target_that_is_neither_class_nor_function(acme):
    with pytest.raises(PluginError, match="transform 'number' is of type int; expected a class or a function"):
        acme.create("transform", "number")


def test_options_are_checked_before_the_call(acme):
    with pytest.raises(OptionError) as caught:
        acme.create("transform", "haar", levels=1, nrom="max")
    assert str(caught.value) == (
        "transform 'haar' has no option 'nrom'. Did you mean 'norm'? It takes levels (required), norm='ortho'."
    )
    with pytest.raises(OptionError, match=r"transform 'haar': missing a required argument: 'levels'\. It takes levels"):
        acme.create("transform", "haar")


def test_what_a_constructor_raises(acme):
    with pytest.raises(OptionError, match="transform 'haar' refuses its options: expected levels ≥ 1, got 0"):
        acme.create("transform", "haar", levels=0)
    with pytest.raises(ShapeError, match="its own error"):
        acme.create("transform", "haar", levels=-1)
    with pytest.raises(PluginError, match="transform 'haar' could not be made: RuntimeError: no disk"):
        acme.create("transform", "haar", levels=-2)


def test_a_penalty_function_gets_its_options_and_is_not_called(acme):
    plain, squared = acme.create("penalty", "soft"), acme.create("penalty", "soft", power=3.0)
    assert plain(2.0) == 4.0
    assert not isinstance(plain, functools.partial)
    assert squared(2.0) == 8.0


def test_a_penalty_class_is_made(acme):
    assert acme.create("penalty", "object", weight=0.5).weight == 0.5


def test_mistakes_with_a_penaltys_options(acme):
    with pytest.raises(OptionError, match=r"no option 'powr'\. Did you mean 'power'"):
        acme.create("penalty", "soft", powr=1)
    with pytest.raises(OptionError, match="has no option 'scores'"):
        acme.create("penalty", "soft", scores=1)
    with pytest.raises(OptionError, match="missing a required"):
        acme.create("penalty", "must")
    with pytest.raises(OptionError, match="takes its options by name, got 1 without"):
        acme.create("penalty", "soft", 2.0)


def test_resolve_takes_a_name_a_pair_or_an_object(acme):
    assert acme.resolve("penalty", "soft")(3.0) == 9.0
    assert acme.resolve("transform", ("haar", {"levels": 3})).levels == 3
    assert acme.resolve("transform", ["haar", {"levels": 3}]).levels == 3
    for made in (acme.create("transform", "haar", levels=1), None, (), (1, 2)):
        assert acme.resolve("transform", made) is made


@pytest.mark.parametrize("pair", [("haar",), ("haar", 3), ("haar", {}, {}), ("haar", {1: 2})])
def test_resolve_refuses_a_malformed_pair(acme, pair):
    with pytest.raises(OptionError, match="expected a name, "):
        acme.resolve("transform", pair)


def test_provenance_is_plain_json(conflict):
    records = conflict.provenance()
    assert json.loads(json.dumps(records)) == records
    assert [(r["distribution"], r["version"], r["state"]) for r in records[1:]] == [
        ("acme-trim", "1.0", "loaded"),
        ("Other.Trim", "2.5", "loaded"),
    ]
    assert "penalty:soft" in records[1]["adds"]


def test_the_functions_ask_the_default_registry():
    assert module.available("penalties") == module.default().available("penalties")
    assert module.facts("transform", "fft")["complex_coefficients"]
    assert module.plugins() == module.default().plugins()
    assert module.provenance()[0]["name"] == "trimkit"
    marker = object()
    assert module.resolve("penalty", marker) is marker


def test_the_default_registry_follows_the_environment(monkeypatch):
    monkeypatch.setenv("TRIMKIT_PLUGINS", "no-such-plugin")
    module.default.cache_clear()
    try:
        assert module.plugins()[-1].name == "no-such-plugin"
        assert "fft" in module.available("transforms")
    finally:
        module.default.cache_clear()
