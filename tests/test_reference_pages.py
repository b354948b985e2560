# SPDX-License-Identifier: Apache-2.0
"""The API reference has every public name, and a docstring describes each argument in words of its own.

Griffe reads the sources, as it does for the site: no framework is imported.
"""

import re
from pathlib import Path

import griffe
import pytest
import yaml

import elman.claims
import elman.network

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
BLOCK = re.compile(r"^::: (elman[\w.]*)\n(?:    options:\s*((?:.|\n(?=      ))*))?", re.MULTILINE)
# Sends a reader to another page, where a description should be.
ELSEWHERE = re.compile(
    r"[Tt]hose of `\w+`\.$|[Aa]s (?:the|in the) other|\b[Ll]ikewise\b|\b[Ss]ee above\b", re.MULTILINE
)


@pytest.fixture(scope="module")
def package():
    extensions = griffe.load_extensions(str(ROOT / "docs" / "site" / "public_names.py"))
    return griffe.load("elman", search_paths=[ROOT / "src"], extensions=extensions, docstring_parser="google")


def entries():
    """The names on the pages, with those of their members that a page lists."""
    for page in sorted(REFERENCE.glob("*.md")):
        for name, options in BLOCK.findall(page.read_text()):
            yield name
            members = yaml.safe_load(options or "{}").get("members", [])
            yield from (f"{name}.{member}" for member in members)


def documented(package, name):
    """The object of a public name."""
    found = package
    for part in name.split(".")[1:]:
        found = found.all_members[part]
        found = found.final_target if found.is_alias else found
    return found


ENTRIES = list(entries())


def test_every_public_name_is_in_the_reference():
    of_keras = {"RNN", "SimpleRNNCell", "LSTMCell", "GRUCell"}
    tables = {"elman.network.Network", "elman.network.LAYERS", "elman.network.COMBINATORS"}
    left_out = tables | {
        f"elman.{name}" for name in ("__version__", "claims", "initializers", "sklearn", "torch", *of_keras)
    }
    public = {f"{module.__name__}.{name}" for module in (elman, elman.claims, elman.network) for name in module.__all__}
    missing = sorted(public - left_out - set(ENTRIES))
    assert not missing, f"add '::: {missing[0]}' to a page of docs/reference, and so on for {missing}"


@pytest.mark.parametrize("name", ENTRIES)
def test_each_argument_is_described(package, name):
    entry = documented(package, name)
    assert entry.docstring, f"{name} has no docstring"
    sections = entry.docstring.parse("google")
    named = {
        item.name.lstrip("*")
        for section in sections
        if section.kind in (griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes)
        for item in section.value
    }
    parameters = getattr(entry, "parameters", None) or []
    missing = {parameter.name for parameter in parameters} - named - {"self", "cls"}
    assert not missing, f"{name} does not describe {sorted(missing)}"
    elsewhere = ELSEWHERE.search(entry.docstring.value)
    assert not elsewhere, f"{name} says {elsewhere[0]!r}; expected a description"
