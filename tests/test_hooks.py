# SPDX-License-Identifier: Apache-2.0
"""`when_imported`, on modules made for the purpose. The real ones are tested with their frameworks."""

import importlib
import importlib.machinery
import importlib.util
import itertools
import sys
import threading
import zipfile

import pytest

from elman._hooks import when_imported

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def import_system_left_as_it_was(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Writes a module of a new name, and tells the name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str = "ready = True\n") -> str:
        name = f"made_for_hooks_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return name

    return write


def test_a_loaded_module_calls_back_at_once(make):
    name, calls = make(), []
    importlib.import_module(name)
    when_imported(name, lambda: calls.append(sys.modules[name].ready))
    assert calls == [True]


def test_a_module_calls_back_once_when_its_own_code_has_run(make):
    name, calls = make(), []
    finders = list(sys.meta_path)
    when_imported(name, lambda: calls.append(sys.modules[name].ready))
    assert calls == []
    module = importlib.import_module(name)
    assert calls == [True]
    importlib.import_module(name)
    importlib.reload(module)
    assert calls == [True]
    assert sys.meta_path == finders, "the finder stayed"


def test_other_modules_do_not_call_back(make):
    name, other, calls = make(), make(), []
    when_imported(name, lambda: calls.append(name))
    importlib.import_module(other)
    assert calls == []


def test_a_package_calls_back_before_its_importer_sees_it_and_after_its_submodules(make, tmp_path):
    package = tmp_path / "hooked_package"
    package.mkdir()
    (package / "__init__.py").write_text("from hooked_package import inner\nready = True\n")
    (package / "inner.py").write_text("")
    importlib.invalidate_caches()
    calls = []
    when_imported("hooked_package", lambda: calls.append(sys.modules["hooked_package"].ready))
    importlib.import_module("hooked_package.inner")
    assert calls == [True]


def test_two_callbacks_for_one_module(make):
    name, calls = make(), []
    when_imported(name, lambda: calls.append("first"))
    when_imported(name, lambda: calls.append("second"))
    importlib.import_module(name)
    assert sorted(calls) == ["first", "second"]


def test_an_import_that_fails_calls_nothing_and_the_next_one_counts(make, tmp_path):
    name, calls = make("raise RuntimeError('broken')\n"), []
    when_imported(name, lambda: calls.append(name))
    with pytest.raises(RuntimeError, match="broken"):
        importlib.import_module(name)
    assert calls == []
    (tmp_path / f"{name}.py").write_text("")
    importlib.invalidate_caches()
    importlib.import_module(name)
    assert calls == [name]


def test_a_module_that_is_not_there_stays_so():
    when_imported("no_such_module", lambda: pytest.fail("called back"))
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module")
    assert importlib.util.find_spec("no_such_module") is None


def test_a_module_that_is_barred_stays_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "barred", None)
    when_imported("barred", lambda: pytest.fail("called back"))
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("barred")


def test_find_spec_sees_the_real_loader_and_calls_nothing(make):
    name, calls = make(), []
    when_imported(name, lambda: calls.append(name))
    spec = importlib.util.find_spec(name)
    assert type(spec.loader) is importlib.machinery.SourceFileLoader
    assert spec.loader.get_source(name) == "ready = True\n"
    assert calls == []
    importlib.import_module(name)
    assert calls == [name]


def test_the_remains_of_an_uninstalled_package_are_nothing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "remains").mkdir()
    importlib.invalidate_caches()
    when_imported("remains", lambda: pytest.fail("called back"))
    assert importlib.import_module("remains").__file__ is None


def test_a_loader_that_many_modules_share(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "modules.zip", "w") as archive:
        archive.writestr("zipped.py", "ready = True\n")
        archive.writestr("zipped_too.py", "")
    monkeypatch.syspath_prepend(tmp_path / "modules.zip")
    calls = []
    when_imported("zipped", lambda: calls.append(sys.modules["zipped"].ready))
    assert importlib.util.find_spec("zipped") is not None
    importlib.import_module("zipped_too")
    assert calls == []
    importlib.import_module("zipped")
    assert calls == [True]


def test_a_module_that_another_thread_is_importing(make):
    name, calls = make("import made_for_threads as m\nm.begun.set()\nm.go_on.wait()\nready = True\n"), []
    meeting = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("made_for_threads", None))
    meeting.begun, meeting.go_on = threading.Event(), threading.Event()
    sys.modules["made_for_threads"] = meeting
    importing = threading.Thread(target=importlib.import_module, args=(name,))
    importing.start()
    meeting.begun.wait()
    hooking = threading.Thread(target=when_imported, args=(name, lambda: calls.append(sys.modules[name].ready)))
    hooking.start()
    meeting.go_on.set()
    importing.join()
    hooking.join()
    assert calls == [True]


def test_an_error_of_the_callback_is_the_imports(make):
    def fail():
        raise LookupError("mine")

    name = make()
    when_imported(name, fail)
    with pytest.raises(LookupError, match="mine"):
        importlib.import_module(name)
