# SPDX-License-Identifier: Apache-2.0
"""A graph of calls as the nested list of a `Network`: sequences, sums and concatenations of branches.

In: the call that gives the output; each call has those whose results it takes. Out: entries with weights, and a network
made of them. What a call computes is left to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from elman.network import Concat, Network, Sum
from elman.network.layer import Layer, Shape


class Loaded(NamedTuple):
    """A row of the layer table with the values of its parameters, in their order."""

    layer: Layer
    values: tuple[Any, ...] = ()
    source: Any = None  # the layer or module that it was made of


class Joined(NamedTuple):
    """Branches on the same input, each a list of entries, and the combinator that joins them."""

    kind: type[Sum | Concat]
    branches: list[list[Any]]


class Call(NamedTuple):
    """One call in a graph.

    Attributes:
        what: What is called; `None` is the model's input.
        inputs: The calls whose results it takes; several are joined.
        settings: Other arguments, such as the slices of an index.
    """

    what: Any
    inputs: tuple[Any, ...] = ()
    settings: tuple[Any, ...] = ()


Convert = Callable[[Sequence[Call]], tuple[list[Any], int]]
Join = Callable[[Any, list[list[Any]]], Joined]


def nested(end: Call, convert: Convert, join: Join) -> list[Any]:
    """The entries that compute the result of a call from the model's input.

    Args:
        end: The call.
        convert: Makes entries of the first of some calls in a row, or of several, and says of how many.
        join: Makes an entry of what joins branches, and the branches.
    """

    def emit(calls: list[Call], done: int) -> list[Any]:
        entries: list[Any] = []
        while done < len(calls):
            call = calls[done]
            if len(call.inputs) > 1:
                entries.append(join(call.what, [emit(_back(each), done) for each in call.inputs]))
                done += 1
            else:
                found, length = convert(calls[done:])
                entries += found
                done += length
        return entries

    return emit(_back(end), 0)


def _back(call: Call) -> list[Call]:
    """The calls from the input to this one, one after the other; a join of branches is one of them."""
    calls = []
    while call.what is not None:
        calls.append(call)
        if len(call.inputs) > 1:
            common = _common([_back(each) for each in call.inputs])
            return [*common, *reversed(calls)]
        (call,) = call.inputs
    return calls[::-1]


def _common(paths: Sequence[list[Call]]) -> list[Call]:
    """The calls with which all paths begin."""
    found = []
    for same in zip(*paths, strict=False):
        if any(each is not same[0] for each in same):
            break
        found.append(same[0])
    return found


def leaves(entries: Sequence[Any]) -> list[Loaded]:
    """The layers in the order in which the network counts them."""
    found = []
    for entry in entries:
        if isinstance(entry, Loaded):
            found.append(entry)
        else:
            for branch in entry.branches if isinstance(entry, Joined) else [entry]:
                found += leaves(branch)
    return found


def used_twice(entries: Sequence[Any]) -> Any:
    """The source of weights that are in two places, which a nested list would train apart; `None` if there is none."""
    seen = set()
    for loaded in leaves(entries):
        if loaded.values and id(loaded.source) in seen:
            return loaded.source
        seen.add(id(loaded.source))
    return None


def network_of(entries: Sequence[Any], shape: Shape, dtype: str) -> Network:
    """The network of some entries, with their weights.

    Args:
        entries: Of `nested`.
        shape: Of the input, without the batch.
        dtype: Of the computation.
    """
    network = Network([_stripped(each) for each in entries], dtype=dtype)
    network.build(shape)
    values = [value for loaded in leaves(entries) for value in loaded.values]
    network.set_weights(dict(zip(network.weights, values, strict=True)))
    return network


def _stripped(entry: Any) -> Any:
    """An entry without the values of its parameters, as a `Network` takes it."""
    if isinstance(entry, Loaded):
        return entry.layer
    if isinstance(entry, Joined):
        return entry.kind([_stripped(branch) for branch in entry.branches])
    return [_stripped(each) for each in entry]
