"""Plug-ins of other packages: each mistake is one line, and none is anybody else's."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from ditbench import registry
from ditbench.errors import PluginError, UsageError
from ditbench.registry import Registry, _settings_problems

GROUP = "ditbench.tests"
CLASS = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class {title}:
    name: ClassVar[str] = "{name}"
"""


def text(name):
    return CLASS.format(title=name.title(), name=name)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Modules in a folder that imports look into."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def write(**modules):
        for name, body in modules.items():
            (tmp_path / f"{name}.py").write_text(body)
            written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name.partition("/")[0], None)


@pytest.fixture
def kinds(write, tmp_path, monkeypatch):
    """A registry that knows these entry points, and a package of its own with nothing in it."""
    (tmp_path / "own").mkdir()
    write(**{"own/__init__": ""})

    def kinds(problems=lambda _plugin: [], **points):
        found = [EntryPoint(name, value, GROUP) for name, value in points.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == GROUP else [])
        return Registry("kind", "own", GROUP, problems)

    return kinds


def test_ours_is_found_without_importing_another_packages(write, kinds):
    write(outsider=text("outsider"))
    known = kinds(outsider="outsider:Outsider")
    ours = known.register(type("Ours", (), {"name": "ours"}))
    assert known.get("ours") is ours
    assert "outsider" not in sys.modules
    assert known.get("outsider").name == "outsider"
    assert set(known.discover()) == {"ours", "outsider"}


def test_an_unknown_name_is_told_with_the_nearest_of_all(write, kinds):
    write(outsider=text("outsider"))
    with pytest.raises(UsageError, match=r"unknown kind 'outsidr' .*'outsider'"):
        kinds(outsider="outsider:Outsider").get("outsidr")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import sys; sys.exit('enough')", "SystemExit: enough"),
        ("raise ValueError", "ValueError"),
        ("raise ValueError('one\\ntwo')", "ValueError: one"),
        ("(", "SyntaxError: '(' was never closed"),
        ("x = 1", "AttributeError: module 'broken' has no attribute 'Broken'"),
        (
            text("other").replace("Other", "Broken"),
            "calls itself 'other', its entry point 'broken'",
        ),
    ],
    ids=["leaves", "raises", "two lines", "no Python", "no class", "another name"],
)
def test_a_broken_one_is_one_line_and_stops_no_other(write, kinds, body, told):
    write(broken=body, outsider=text("outsider"))
    known = kinds(broken="broken:Broken", outsider="outsider:Outsider")
    assert set(known.discover()) == {"outsider"}
    (reason,) = known.broken.values()
    assert "\n" not in reason
    assert reason.startswith("broken:Broken of an unknown package cannot be used: ")
    assert told in reason
    with pytest.raises(PluginError, match="kind 'broken': broken:Broken of an unknown package"):
        known.get("broken")


def test_a_class_that_breaks_the_contract_is_told_every_way_it_does(write, kinds):
    write(outsider=text("outsider"))
    known = kinds(lambda _plugin: ["is no this", "does no that"], outsider="outsider:Outsider")
    with pytest.raises(PluginError, match="is no this; does no that"):
        known.get("outsider")


def test_one_that_registers_itself_is_not_taken_for_two(write, kinds, monkeypatch):
    write(
        outsider="from test_registry_own import known\n"
        + text("outsider")
        + "known.register(Outsider)\n"
    )
    known = kinds(outsider="outsider:Outsider")
    monkeypatch.setitem(sys.modules, "test_registry_own", type(sys)("test_registry_own"))
    sys.modules["test_registry_own"].known = known
    assert set(known.discover()) == {"outsider"}
    assert known.broken == {}


def test_of_two_with_one_name_the_first_has_it(write, kinds, monkeypatch):
    write(
        first=text("twin").replace("Twin", "First"), second=text("twin").replace("Twin", "Second")
    )
    known = kinds()
    found = [EntryPoint("twin", value, GROUP) for value in ("first:First", "second:Second")]
    monkeypatch.setattr(registry, "entry_points", lambda **_: found)
    assert known.get("twin").__name__ == "First"
    assert "'twin' is taken already" in known.broken["second:Second"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("outsidr:Outsider", "there is no module 'outsidr', installed or beside the suite"),
        ("outsider.inner:X", "there is no module 'outsider.inner'"),
        ("outsider:Outsidr", "there is no 'Outsidr' in outsider (did you mean 'Outsider'?)"),
        (":Outsider", "ValueError: Empty module name"),
    ],
)
def test_a_slip_in_a_place_is_told_with_what_was_meant(write, kinds, name, told):
    write(outsider=text("outsider"))
    with pytest.raises(UsageError) as caught:
        kinds().get(name)
    assert told in str(caught.value)


def test_a_module_that_lacks_another_is_not_taken_for_a_slip(write, kinds):
    write(outsider="import nothing_of_that_name")
    with pytest.raises(PluginError, match="No module named 'nothing_of_that_name'"):
        kinds().get("outsider:Outsider")


def test_settings_that_a_suite_cannot_give_are_told():
    @dataclass(frozen=True)
    class Odd:
        name: ClassVar[str] = "odd"

        bare: int
        listed: tuple = ()

    Odd.__annotations__ |= {"bare": int, "listed": tuple}
    assert _settings_problems(Odd) == [
        "setting 'bare' has no default",
        "setting 'listed' is neither int, float, bool nor str",
    ]
