# SPDX-License-Identifier: Apache-2.0
"""`elman claims`: lists the claims, or calls `elman.claims.run` and prints what it found."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from elman import claims as experiments
from elman import files
from elman.claims.claim import COLUMNS, Claim
from elman.cli.progress import count
from elman.cli.screen import say, screen, table_of, usage_errors


def claims(
    number: Annotated[int | None, typer.Argument(help="Of the claim; without it they are listed.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Measure every claim.")] = False,
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 20,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option.")] = None,
    html: Annotated[Path | None, typer.Option(help="A page to write.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Measure what is commonly said of the SimpleRNN.

    \b
    elman claims                            lists the claims
    elman claims 6 --set "sizes=(16, 32)"   one of them, with another set-up
    elman claims --all --html claims.html   all of them, and a page
    """
    with usage_errors():
        if number is None and not all_:
            _list(json_=json_)
            return
        if number is not None and all_:
            raise ValueError("elman claims takes either the number of a claim or --all.")
        if html is not None:
            files.check(html)
        chosen = list(experiments.names()) if number is None else [number]
        options = _options(set_ or [])
        found = []
        for each in chosen:
            with count(f"claim {each}") as tell:
                found.append(experiments.run(each, seeds=range(first, first + seeds), tell=tell, **options))
            if not json_:
                _print(found[-1], short=all_)
        if html is not None:
            from elman.claims import page

            page.write(found, html)
    if json_:
        data = [claim.to_dict() for claim in found]
        typer.echo(json.dumps(data if all_ else data[0], indent=2))
    elif html is not None:
        say(screen(), [f"The page is {html}."])


def _list(*, json_: bool) -> None:
    if json_:
        typer.echo(json.dumps(experiments.names(), indent=2))
        return
    console = screen()
    console.print(table_of(("claim", "what is said"), [(str(n), title) for n, title in experiments.names().items()]))
    say(console, ["elman claims NUMBER measures one, elman claims --all every one."])


def _print(claim: Claim, *, short: bool) -> None:
    console = screen()
    if short:
        say(console, [f"{claim.number}. {claim.title}: {claim.verdict}. ({claim.seconds:.1f} s)"])
        return
    say(console, claim.lines())
    console.print(table_of(COLUMNS, claim.rows()))
    say(console, [f"Verdict: {claim.verdict}. {claim.because}", *claim.skipped])


def _options(texts: list[str]) -> dict[str, Any]:
    """Options from `name=value`; a value is a number, a tuple or another literal of Python, or else a word."""
    given = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set got {text!r}; expected NAME=VALUE, such as units=64.")
        try:
            given[name.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            given[name.strip()] = value.strip()
    return given
