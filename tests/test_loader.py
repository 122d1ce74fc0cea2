"""Plugins are found and loaded one by one; a broken one hurts nothing but itself and says why."""

from __future__ import annotations

import itertools
import types

import pytest

from trimkit.errors import TrimkitWarning
from trimkit.registry import Registry
from trimkit.registry import loader as _loader

HEAD = "from trimkit.hooks import PenaltySpec, TransformSpec, hookimpl\nTRIMKIT_API = 1\n"
GOOD = HEAD + "@hookimpl\ndef trimkit_transforms():\n    yield TransformSpec('good', 'math:sqrt', 'A good one.')\n"


def hook(body: str, signature: str = "trimkit_transforms()") -> str:
    return f"{HEAD}@hookimpl\ndef {signature}:\n    {body}\n"


BROKEN = {
    "import-error": ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    "syntax-error": ("def broken(:", "SyntaxError"),
    "system-exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "value-error": ("raise ValueError('first line\\n   second line')", "ValueError: first line second line"),
    "cancelled": ("import asyncio; raise asyncio.CancelledError", "raised CancelledError"),
    "leaving": ("raise GeneratorExit", "raised GeneratorExit"),
    "unprintable": (
        "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
        "raised E: (its message cannot be shown)",
    ),
    "unprintable-hook": (
        hook("class E(Exception):\n        def __str__(self): raise SystemExit\n    raise E"),
        "trimkit_transforms() raised E: (its message cannot be shown)",
    ),
    "coloured": ("raise ValueError('\\x1b[2J\\x1b[31mred\\rover')", "ValueError: [2J[31mred over"),
    "odd-api": (
        "class A:\n    def __eq__(self, _): raise OSError\n    def __repr__(self): raise OSError\nTRIMKIT_API = A()",
        "its TRIMKIT_API is a A; expected the number 1",
    ),
    "star-import": ("from trimkit.hooks import *", "add TRIMKIT_API = 1"),
    "wrong-api": (HEAD + "TRIMKIT_API = 99", "TRIMKIT_API 99, this trimkit speaks 1: install a version of wrong-api"),
    "missing-api": ("", "add TRIMKIT_API = 1"),
    "misspelt-hook": (hook("return []", "trimkit_transfroms()"), "'trimkit_transfroms'. Did you mean 'trimkit_trans"),
    "unmarked-hook": (HEAD + "def trimkit_transforms(): return []", "@trimkit.hooks.hookimpl"),
    "wrong-argument": (hook("return []", "trimkit_transforms(config)"), "config"),
    "raising-hook": (hook("raise KeyError('k')"), "trimkit_transforms() raised KeyError: 'k'"),
    "exiting-hook": (hook("raise SystemExit"), "trimkit_transforms() raised SystemExit"),
    "half-a-hook": (hook("yield TransformSpec('a', 'a:b', ''); 1 / 0"), "raised ZeroDivisionError: division by zero"),
    "no-return": (hook("pass"), "must return an iterable of TransformSpec, got NoneType"),
    "bare-spec": (hook("return TransformSpec('a', 'a:b', '')"), "iterable of TransformSpec, got TransformSpec"),
    "text": (hook("return 'fft'"), "must return an iterable of TransformSpec, got str"),
    "garbage": (hook("return [1, 2]"), "got int in it"),
    "wrong-kind": (hook("return [PenaltySpec('a', 'a:b', '')]"), "iterable of TransformSpec, got PenaltySpec in it"),
    "bad-target": (hook("return [TransformSpec('a', 'a.b.C', '')]"), "must be 'package.module:attribute', got 'a.b.C'"),
    "bad-name": (hook("return [TransformSpec('a b', 'a:b', '')]"), "got 'a b'"),
    "bad-text": (hook("return [TransformSpec('a', 'a:b', None)]"), "must be strings"),
    "twice": (hook("return [TransformSpec('a', 'a:b', '')] * 2"), "registers the transform 'a' twice"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_fails_alone_and_says_why(site, fault):
    source, reason = BROKEN[fault]
    site.add(fault, source)
    site.add("aaa-before", GOOD)
    site.add("zzz-after", GOOD.replace("'good'", "'good_too'"))
    registry = site.registry()
    states = {record.name: record.state for record in registry.plugins()}
    assert states == {"trimkit": "loaded", "aaa-before": "loaded", fault: "failed", "zzz-after": "loaded"}
    assert {"fft", "good", "good_too"} <= set(registry.available("transforms"))
    (record,) = [record for record in registry.plugins() if record.name == fault]
    assert reason in record.reason
    assert "\n" not in record.reason
    assert record.adds == ()
    assert not {"a", "a b"} & set(registry.available("transforms"))


def test_an_entry_point_that_leads_nowhere(site):
    site.add("nowhere", "", value="no_such_package.plugin")
    site.add("no-attribute", "", value="math:no_such_attribute")
    site.add("malformed", "", value="not a module!")
    reasons = {record.name: record.reason for record in site.registry(core=False).plugins()}
    assert "No module named 'no_such_package'" in reasons["nowhere"]
    assert "no_such_attribute" in reasons["no-attribute"]
    assert reasons["malformed"].startswith("importing 'not a module!' raised")


def test_keyboard_interrupt_is_the_users_and_passes(site):
    site.add("interrupting", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        site.registry(core=False)


def test_a_plugin_that_is_slow_to_import_is_named_with_its_time(site, monkeypatch):
    site.add("slow", GOOD)
    monkeypatch.setattr(_loader, "SLOW", -1.0)
    with pytest.warns(TrimkitWarning, match=r"the plugin 'slow' of slow took \d+\.\d s to import \(of the processor"):
        assert "good" in site.registry(core=False).available("transforms")


def test_a_plugin_that_waits_for_a_busy_machine_is_not_slow(site, monkeypatch):
    site.add("waiting", GOOD)
    clock = itertools.count(step=100.0)
    times = types.SimpleNamespace(perf_counter=lambda: next(clock), thread_time=lambda: 1.0)
    monkeypatch.setattr(_loader, "time", times)
    assert "good" in site.registry(core=False).available("transforms")


def test_control_characters_are_left_out_of_what_is_shown():
    assert _loader.printable("a\x1b[2Jb\r\n  c\x00\x9b\u202ed é") == "a[2Jb cd é"


def test_a_plugin_may_be_any_object_with_hooks(site):
    source = (
        f"{HEAD}class Plugin:\n    TRIMKIT_API = 1\n    @hookimpl\n    def trimkit_penalties(self):\n"
        "        return (PenaltySpec('p', 'math:sqrt', ''),)\nplugin = Plugin()\n"
    )
    (site.folder / "fake_object_plugin.py").write_text(source)
    site.add("object-plugin", "", value="fake_object_plugin:plugin")
    assert site.registry(core=False).plugins()[0].adds == ("penalty:p",)


def test_a_record_says_everything(site):
    site.add("Acme_Trim", GOOD, version="2.1", plugin="acme")
    (record,) = site.registry(core=False).plugins()
    assert record == _loader.PluginRecord("acme", "Acme_Trim", "2.1", "loaded", "", ("transform:good",))


def test_two_plugins_of_one_distribution_may_not_share_a_name(site):
    module = site.add("twins", GOOD)
    (site.folder / "twins-1.0.dist-info" / "entry_points.txt").write_text(
        f"[trimkit]\nfirst = {module}\nsecond = {module}\n"
    )
    first, second = site.registry(core=False).plugins()
    assert (first.state, second.state) == ("loaded", "failed")
    assert "registers the transform 'good' twice" in second.reason


def test_one_distribution_found_twice_counts_once(site, tmp_path):
    site.add("acme-trim", GOOD, version="2.0")
    older = tmp_path / "older"
    older.mkdir()
    type(site)(older).add("Acme.Trim", "raise ValueError('the hidden one')", version="1.0")
    (entry_point,) = _loader.discover([str(tmp_path), str(older)])
    assert _loader.identity(entry_point) == ("acme-trim", "2.0")


def test_metadata_that_cannot_be_read(site):
    module = site.add("good", GOOD)
    site.add_metadata("anonymous", "0", "", f"[trimkit]\nnameless = {module}\n")
    site.add_metadata("other", "0", "", f"[trimkit]\nalso-nameless = {module}\n")
    site.add_metadata("damaged", "0", "Name: damaged\nVersion: 0\n", "[trimkit]\nno equals sign here\n")
    with pytest.warns(TrimkitWarning, match="cannot be read and are skipped"):
        records = {record.name: record for record in site.registry(core=False).plugins()}
    assert records.keys() == {"good", "nameless", "also-nameless"}
    assert (records["good"].state, records["also-nameless"].state) == ("loaded", "loaded")
    assert (records["nameless"].distribution, records["nameless"].version) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("text", "expected"), [(None, None), ("", set()), (" , ", set()), ("a", {"a"}), (" a , b-c ,", {"a", "b-c"})]
)
def test_the_selection_is_a_list_of_names(text, expected):
    assert _loader.selection({} if text is None else {"TRIMKIT_PLUGINS": text}) == expected


@pytest.mark.parametrize("name", ["acme", "ACME", "acme-trim", "Acme_Trim"])
def test_a_plugin_is_selected_by_its_name_or_its_distribution(site, name):
    site.add("acme-trim", GOOD, plugin="acme")
    site.add("other", "raise ValueError('blocked plugins are not imported')")
    registry = site.registry({name})
    assert [(r.name, r.state) for r in registry.plugins()] == [
        ("trimkit", "loaded"),
        ("acme", "loaded"),
        ("other", "blocked"),
    ]
    assert registry.plugins()[2].reason == "TRIMKIT_PLUGINS does not select it"


def test_an_empty_selection_leaves_trimkits_own_parts(site):
    site.add("acme-trim", GOOD)
    registry = site.registry(set())
    assert [r.state for r in registry.plugins()] == ["loaded", "blocked"]
    assert "fft" in registry.available("transforms")


def test_a_selected_name_that_is_not_installed_is_shown(site):
    site.add("acme-trim", GOOD)
    record = site.registry({"acme-trm"}).plugins()[-1]
    assert (record.name, record.state, record.distribution) == ("acme-trm", "failed", "")
    assert "no plugin or distribution of that name is installed. Did you mean 'acme-trim'?" in record.reason


def test_an_empty_registry_knows_no_parts():
    assert dict(Registry([]).available("transforms")) == {}


def test_a_plugin_of_the_version_before_is_loaded_with_a_warning_that_names_the_change(site, monkeypatch):
    monkeypatch.setattr(_loader, "TRIMKIT_API", 2)
    monkeypatch.setitem(_loader.CHANGES, 2, "Yield records instead of pairs.")
    site.add("frozen", GOOD)
    with pytest.warns(TrimkitWarning, match="API 1, which the next version refuses. Yield records .*TRIMKIT_API = 2"):
        registry = site.registry(core=False)
    assert [record.state for record in registry.plugins()] == ["loaded"]
    assert "good" in registry.available("transforms")


@pytest.mark.parametrize("api", [0, 1, 4])
def test_any_other_version_is_refused(site, monkeypatch, api):
    monkeypatch.setattr(_loader, "TRIMKIT_API", 3)
    site.add("stranger", GOOD.replace("TRIMKIT_API = 1", f"TRIMKIT_API = {api}"))
    (record,) = site.registry(core=False).plugins()
    assert record.state == "failed"
    assert f"written for TRIMKIT_API {api}, this trimkit speaks 3" in record.reason


def test_a_record_of_the_frozen_version_may_leave_out_every_optional_field():
    from trimkit.hooks import KINDS

    for record in KINDS.values():
        assert record("name", "module:target", "What it does.").reference == ""


def test_calls_into_plugins_are_recorded_with_their_times(site):
    site.add("acme-trim", GOOD)
    site.add("broken", "import no_such_module_at_all")
    registry = site.registry(core=False)
    assert [(call.plugin, call.what, call.records) for call in registry.calls] == [
        ("acme-trim", "import", 0),
        ("acme-trim", "trimkit_transforms()", 1),
    ]
    assert all(call.seconds >= 0 for call in registry.calls)
