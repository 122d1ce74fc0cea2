"""A plugin that was written for API 1 goes on loading as hooks, arguments and records grow; what is going warns."""

from __future__ import annotations

import dataclasses

import pytest

from trimkit.deprecation import deprecation
from trimkit.errors import DeprecatedWarning
from trimkit.hooks import KINDS, Deprecated, Hooks, hookspec
from trimkit.registry import loader as _loader

FROZEN = """
from trimkit.hooks import (
    AttributionSpec, CheckSpec, CommandSpec, DatasetSpec, MethodSpec, PenaltySpec, TransformSpec, hookimpl,
)
TRIMKIT_API = 1
@hookimpl
def trimkit_transforms(): yield TransformSpec("old_t", "math:sqrt", "A transform.", "A paper 2026")
@hookimpl
def trimkit_attributions(): return [AttributionSpec("old_a", "math:sqrt", "An attribution.", "A paper 2026")]
@hookimpl
def trimkit_penalties(): return (PenaltySpec("old_p", "math:sqrt", "A penalty.", "A paper 2026"),)
@hookimpl
def trimkit_methods(): yield MethodSpec("old_m", "math:sqrt", "A method.", "A paper 2026", "vae")
@hookimpl
def trimkit_datasets(): yield DatasetSpec("old_d", "math:sqrt", "A dataset.", "A paper 2026", (1, 16, 16), 10)
@hookimpl
def trimkit_checks(): yield CheckSpec("old_c", "math:sqrt", "A check.", "A paper 2026", True)
@hookimpl
def trimkit_commands(): yield CommandSpec("old_k", "math:sqrt", "A command.", "A paper 2026")
"""
"""Every hook and every field of API 1, by position. It is never changed: what it says must go on working."""

FIELDS = {
    "transforms": ("name", "target", "summary", "reference"),
    "attributions": ("name", "target", "summary", "reference"),
    "penalties": ("name", "target", "summary", "reference"),
    "methods": ("name", "target", "summary", "reference", "family"),
    "datasets": ("name", "target", "summary", "reference", "shape", "classes"),
    "checks": ("name", "target", "summary", "reference", "mandatory"),
    "commands": ("name", "target", "summary", "reference"),
}
"""The fields of API 1 in their order."""


WITH_ARGUMENT = """
from trimkit.hooks import PenaltySpec, hookimpl
TRIMKIT_API = 1
@hookimpl
def trimkit_penalties(device): yield PenaltySpec(f"on_{device}", "math:sqrt", "A penalty.")
"""

WITH_ARGUMENT_IN_A_CLASS = """
from trimkit.hooks import PenaltySpec, hookimpl
class Plugin:
    TRIMKIT_API = 1
    @hookimpl
    def trimkit_penalties(self, device): yield PenaltySpec(f"bound_to_{device}", "math:sqrt", "A penalty.")
plugin = Plugin()
"""


def specification(**marks):
    """The hooks of some later version: `trimkit_penalties` is marked so, and takes an argument."""

    class Later(Hooks):
        @staticmethod
        @hookspec(**marks)
        def trimkit_penalties(device):
            """Penalties, for a device."""

    return Later


@pytest.fixture
def later(monkeypatch):
    """Makes the hooks those of a later version."""

    def make(**marks):
        monkeypatch.setattr(_loader, "Hooks", specification(**marks))
        monkeypatch.setitem(_loader.ARGUMENTS, "trimkit_penalties", {"device": "cuda"})

    return make


def parts(registry):
    return {(kind, name) for kind in KINDS for name in registry.available(kind)}


def frozen_parts():
    return {(kind, f"old_{letter}") for kind, letter in zip(KINDS, "tapmdck", strict=True)}


def test_the_frozen_plugin_is_loaded_whole_and_without_a_warning(site):
    site.add("frozen", FROZEN)
    registry = site.registry(core=False)
    assert [record.state for record in registry.plugins()] == ["loaded"]
    assert parts(registry) == frozen_parts()


def test_its_fields_arrive_where_it_put_them(site):
    site.add("frozen", FROZEN)
    registry = site.registry(core=False)
    assert {registry.available(kind)[name].reference for kind, name in frozen_parts()} == {"A paper 2026"}
    assert registry.available("methods")["old_m"].family == "vae"
    assert registry.available("datasets")["old_d"].shape == (1, 16, 16)
    assert registry.available("datasets")["old_d"].classes == 10
    assert registry.available("checks")["old_c"].mandatory is True


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_gains_optional_fields_only_by_name_or_at_the_end(kind):
    fields = dataclasses.fields(KINDS[kind])
    by_position = [field for field in fields if not field.kw_only]
    assert tuple(field.name for field in by_position)[: len(FIELDS[kind])] == FIELDS[kind]
    for field in fields:
        assert field.name in ("name", "target", "summary") or field.default is not dataclasses.MISSING


def test_no_hook_of_api_1_is_gone():
    assert {f"trimkit_{kind}" for kind in FIELDS} <= {name for name in vars(Hooks) if name.startswith("trimkit_")}


def test_an_argument_that_a_hook_gains_later_does_not_break_it(site, later):
    later()
    site.add("frozen", FROZEN)
    assert parts(site.registry(core=False)) == frozen_parts()


def test_a_plugin_that_names_the_argument_is_given_it(site, later):
    later()
    site.add("module", WITH_ARGUMENT)
    (site.folder / "with_argument.py").write_text(WITH_ARGUMENT_IN_A_CLASS)
    site.add("object", "", value="with_argument:plugin")
    assert set(site.registry(core=False).available("penalties")) == {"on_cuda", "bound_to_cuda"}


def test_a_hook_that_is_going_warns_those_who_answer_it_until_when(site, later):
    later(warn_on_impl=deprecation("the hook trimkit_penalties()", "trimkit_losses()", "0.2"))
    site.add("frozen", FROZEN)
    with pytest.warns(DeprecatedWarning, match=r"trimkit_penalties\(\) works until trimkit 0.4: use trimkit_los"):
        registry = site.registry(core=False)
    assert parts(registry) == frozen_parts()


def test_an_argument_that_is_going_warns_those_alone_who_name_it(site, later):
    later(warn_on_impl_args={"device": deprecation("the argument device", "nothing", "0.2")})
    site.add("frozen", FROZEN)
    assert parts(site.registry(core=False)) == frozen_parts()
    site.add(
        "names-it",
        "from trimkit.hooks import hookimpl\nTRIMKIT_API = 1\n@hookimpl\ndef trimkit_penalties(device): return []\n",
    )
    with pytest.warns(DeprecatedWarning, match="argument device works until trimkit 0.4"):
        site.registry(core=False)


RENAMED = """
from trimkit.hooks import Deprecated, PenaltySpec, hookimpl
TRIMKIT_API = 1
@hookimpl
def trimkit_penalties():
    yield PenaltySpec("new_name", "trimkit.penalties:l1", "A penalty.")
    yield PenaltySpec("old_name", "trimkit.penalties:l1", "A penalty.", deprecated=DEPRECATED)
"""


def test_a_part_that_is_going_warns_when_it_is_made_and_not_before(site):
    site.add("acme", RENAMED.replace("DEPRECATED", "Deprecated('new_name', '1.2')"))
    registry = site.registry(core=False)
    assert registry.available("penalties")["old_name"].deprecated == Deprecated("new_name", "1.2")
    with pytest.warns(DeprecatedWarning, match="penalty 'old_name' works until acme 1.4: use 'new_name'"):
        made = registry.create("penalty", "old_name")
    assert made is registry.create("penalty", "new_name")


@pytest.mark.parametrize("value", ["'new_name'", "Deprecated('new_name', 'soon')", "Deprecated('new_name', 2)"])
def test_a_record_that_does_not_say_since_when_is_refused(site, value):
    site.add("acme", RENAMED.replace("DEPRECATED", value))
    (record,) = site.registry(core=False).plugins()
    assert "expected deprecated=Deprecated('new name', '0.2')" in record.reason
