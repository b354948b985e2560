# SPDX-License-Identifier: Apache-2.0
"""Adds files of the repository that lie outside of docs/ to the site, so that one link works there and in a clone.

In: the links of the pages. Out: README.md and the files of PAGES as pages, every other file that a page links to as a
file at the same path, and links that lead to them. A link to a file that does not exist stays; a strict build fails.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "src/elman/datasets/README.md": "datasets.md",
}
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s]+)(?=\))")


def place_in_repository(page: str) -> str:
    """The path of a page's source in the repository."""
    return next((source for source, name in PAGES.items() if name == page), f"docs/{page}")


def place_on_site(path: str) -> str:
    """The path of a file of the repository among the sources of the site."""
    return PAGES.get(path, path.removeprefix("docs/"))


def target(link: str, page: str) -> str:
    """The path in the repository that a link of a page leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place_in_repository(page)), urlsplit(link).path))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds PAGES, and the files outside of docs/ that a page links to."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    for page in list(files.documentation_pages()):
        for link in LINK.findall(page.content_string):
            path = target(link, page.src_uri)
            outside = not path.startswith("docs/") and path not in PAGES
            if outside and (ROOT / path).is_file() and path not in files.src_uris:
                files.append(File.generated(config, path, abs_src_path=os.fspath(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes every link lead to the place of its target on the site."""
    here = posixpath.dirname(page.file.src_uri) or "."

    def moved(match: re.Match[str]) -> str:
        path = target(match[1], page.file.src_uri)
        if not (ROOT / path).is_file():
            return match[0]
        fragment = f"#{part}" if (part := urlsplit(match[1]).fragment) else ""
        return posixpath.relpath(place_on_site(path), here) + fragment

    return LINK.sub(moved, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Gives the search, a dialog, the name that Material leaves out."""
    return output.replace('class="md-search" ', 'class="md-search" aria-label="Search" ', 1)
