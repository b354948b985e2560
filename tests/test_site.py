# SPDX-License-Identifier: Apache-2.0
"""The site: a strict build, and its pages in a Chromium that is installed, from files and without a network.

In `make test` axe-core and the test of widths look at a page of each kind, in `make evaluate` at all pages. Where
Chromium is not installed the tests that need it are skipped by name.
"""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import axe_playwright_python
import playwright.sync_api
import pytest
from playwright.sync_api import sync_playwright

from size import by_size

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium")
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
PHONE, DESK = 390, 1280
ONE_OF_EACH_KIND = {
    "index.html",
    "install.html",
    "memory.html",
    "speed.html",
    "architecture.html",
    "reference/ship.html",
}

pytestmark = pytest.mark.medium
in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def build(config, folder):
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(folder),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Every page but 404.html, which a server shows at any address."""
    return [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A page of the browser, which must not report an error or ask for anything but files and this machine."""
    page = chromium.new_context(color_scheme="light").new_page()
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not is_local(request.url) else None)
    yield page
    page.context.close()
    assert not wrong


def is_local(url):
    return url.startswith(("file:", "data:", "blob:", "about:", "http://127.0.0.1:"))


def test_the_site_needs_no_address_outside(site, pages):
    outside = re.compile(r'<(?:script|img|iframe)[^>]* src="(http[^"]+)|<link[^>]* href="(http[^"]+)')
    for page in pages:
        assert not outside.findall(page.read_text()), page.relative_to(site)


BROKEN = {"nowhere.md": "[a](nowhere.md)", "#nowhere": "[b](#nowhere)", "elman.nowhere": "[c][elman.nowhere]"}


@pytest.mark.parametrize("broken", [BROKEN, {"elman.nothing": "::: elman.nothing"}], ids=["link", "reference"])
def test_a_broken_link_or_a_missing_reference_fails(broken, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("\n\n".join(["# Page", *broken.values()]))
    plugin = f"mkdocstrings: {{handlers: {{python: {{paths: ['{ROOT / 'src'}']}}}}}}"
    lines = (
        f"INHERIT: {ROOT / 'mkdocs.yml'}",
        "docs_dir: docs",
        "hooks: []",
        "nav: [index.md]",
        f"plugins: [{plugin}]",
    )
    config = tmp_path / "mkdocs.yml"
    config.write_text("\n".join((*lines, "extra_css: []", "extra_javascript: []", "")))
    done = build(config, tmp_path / "site")
    assert done.returncode != 0
    assert all(name in done.stderr for name in broken)


@in_chromium
def test_every_page_is_as_wide_as_the_window(tab, site, pages):
    some = {site / name for name in ONE_OF_EACH_KIND}
    for page in by_size(some, some, pages):
        tab.goto(page.as_uri())
        for width in (PHONE, DESK):
            tab.set_viewport_size({"width": width, "height": 900})
            # The page moves its parts to their places after the window has another width.
            with suppress(playwright.sync_api.TimeoutError):
                tab.wait_for_function(f"document.documentElement.scrollWidth <= {width}", timeout=5000)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, page.relative_to(site)


@in_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, site, pages, scheme):
    some = {site / name for name in ONE_OF_EACH_KIND}
    assert some < set(pages)
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": PHONE if scheme == "light" else DESK, "height": 900})
    for page in by_size(some, some, pages):
        tab.goto(page.as_uri())
        assert tab.evaluate("document.body.dataset.mdColorScheme") == ("slate" if scheme == "dark" else "default")
        tab.evaluate(AXE)
        found = tab.evaluate("axe.run({preload: false, resultTypes: ['violations']})")["violations"]
        serious = [
            (each["id"], node["target"], node["failureSummary"])
            for each in found
            for node in each["nodes"]
            if each["impact"] in ("serious", "critical")
        ]
        assert not serious, page.relative_to(site)


@pytest.fixture
def server(site):
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Prints no line for each request."""

    def log_message(self, *_):
        pass


@in_chromium
@pytest.mark.parametrize("place", ["file", "server"])
def test_the_search_finds_a_word(server, site, tab, place):
    tab.set_viewport_size({"width": DESK, "height": 900})
    tab.goto(f"{site.as_uri() if place == 'file' else server}/security.html")
    field = tab.locator("input[name=query]")
    field.click()
    field.press_sequentially("truncate_gradient")
    first = tab.locator(".md-search-result__item a").first
    first.wait_for()
    page = first.get_attribute("href").partition("?")[0].rpartition("/")[2]
    assert "truncate_gradient" in next(site.rglob(page)).read_text()
    first.click()
    tab.wait_for_url(f"**/{page}*")
