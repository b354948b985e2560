# SPDX-License-Identifier: Apache-2.0
"""`elman.info`: what it reports of a framework that works, is absent, breaks, crashes, or is wrong."""

import importlib.util
import sys

import pytest

from elman import _native, info


@pytest.mark.medium
def test_every_installed_framework_works_natively_and_none_is_loaded_here():
    loaded = set(sys.modules)
    found = info.collect()
    assert [framework.name for framework in found.frameworks] == ["numpy", "tensorflow", "jax", "torch"]
    for framework in found.frameworks:
        if importlib.util.find_spec(framework.name):
            assert (framework.native, framework.reason) == (True, None)
            assert framework.version
        else:
            assert framework == info.Framework(framework.name, None, False, "not installed")
    assert not {"tensorflow", "jax", "torch", "keras"} & (set(sys.modules) - loaded)
    assert found.library is not None
    assert found.library.isa in found.library.isas
    assert found.library.threads == _native.library().elman_num_threads()


@pytest.mark.parametrize(
    ("source", "version", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", None, "its check was ended by SIGSEGV"),
        (
            "print('hello'); raise OSError('two\\nlines')",
            None,
            "its check ended with status 1: OSError: two lines",
        ),
        ("__version__ = '1.0'; print('elman')", "1.0", "its check ended with status 1: KeyError: 'broken'"),
        ("import os; os._exit(3)", None, "its check ended with status 3: it printed nothing"),
    ],
)
def test_a_framework_that_does_not_survive_its_check_is_a_line_in_the_report(
    tmp_path, monkeypatch, source, version, reason
):
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    framework, library = info._ask("broken")
    assert framework == info.Framework("broken", version, False, reason)
    assert library is not None  # what was known before the crash is known after it


def test_a_check_without_end_is_ended(tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text("import threading; threading.Event().wait()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(info, "SECONDS", 1)
    framework, _ = info._ask("endless")
    assert framework.reason == "its check did not end within 1 s"


@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
@pytest.mark.parametrize("tensor", range(len(info.TENSORS)))
def test_a_wrong_result_is_named(monkeypatch, wrong, tensor):
    right = info.PROBES["numpy"]

    def off(*arguments):
        results = right(*arguments)
        results[tensor].flat[0] += wrong
        return results

    monkeypatch.setitem(info.PROBES, "numpy", off)
    assert info.probe("numpy").startswith(f"{info.TENSORS[tensor]} is off by ")


def test_the_reason_is_the_routes_own_sentence(monkeypatch):
    monkeypatch.setenv("ELMAN_NATIVE", "off")
    framework, _ = info._ask("numpy")
    assert "the environment has ELMAN_NATIVE=off" in framework.reason
