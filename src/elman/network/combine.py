# SPDX-License-Identifier: Apache-2.0
"""The combinators: a sequence of entries, and branches on the same input whose outputs are added or joined.

A list in a `Network` is a sequence. An empty branch returns its input, so `Sum([[...], []])` is a residual connection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.network.layer import Array, Layer, Op, Place, Shape


@dataclasses.dataclass(frozen=True)
class Chain:
    """Entries that run one after the other."""

    entries: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Branches:
    """Branches that run on the same input.

    Args:
        branches: Lists of entries; a single entry stands for a list of it.
    """

    branches: tuple[Chain, ...]

    def __init__(self, branches: Sequence[Any]) -> None:
        if not isinstance(branches, Sequence) or not branches:
            raise ValueError(f"{type(self).__name__} got {branches!r}; expected a list of branches.")
        object.__setattr__(self, "branches", tuple(chain(branch) for branch in branches))


class Sum(Branches):
    """The sum of the outputs of its branches.

    Args:
        branches: List of branches that run on the same input. A branch is a layer, or a list of layers that run in
            order; an empty list returns its input.

    Raises:
        ValueError: If `branches` is not such a list. When the network is built: if the outputs differ in shape.
    """

    @staticmethod
    def output(shapes: Sequence[Shape]) -> Shape:
        """Shape of the sum.

        Raises:
            ValueError: If the branches' outputs differ in shape.
        """
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"Sum got branches with the output shapes {list(shapes)}; expected equal ones.")
        return shapes[0]


class Concat(Branches):
    """The outputs of its branches, joined along the features.

    Args:
        branches: List of branches that run on the same input. A branch is a layer, or a list of layers that run in
            order; an empty list returns its input.

    Raises:
        ValueError: If `branches` is not such a list. When the network is built: if the outputs differ in more than
            the features.
    """

    @staticmethod
    def output(shapes: Sequence[Shape]) -> Shape:
        """Shape of the whole.

        Raises:
            ValueError: If the branches' outputs differ in more than the features.
        """
        if any(shape[:-1] != shapes[0][:-1] for shape in shapes):
            raise ValueError(
                f"Concat got branches with the output shapes {list(shapes)}; expected equal numbers of steps."
            )
        return (*shapes[0][:-1], sum(shape[-1] or 0 for shape in shapes))


def chain(entry: Any) -> Chain:
    """A list, or a single entry, as a `Chain`.

    Raises:
        TypeError: If something in it is not a layer, a combinator or a list.
    """
    if isinstance(entry, Chain):
        return entry
    if isinstance(entry, (Layer, Branches)):
        return Chain((entry,))
    if isinstance(entry, (list, tuple)):
        return Chain(tuple(each if isinstance(each, (Layer, Branches)) else chain(each) for each in entry))
    raise TypeError(
        f"a network got {entry!r:.80}; expected a layer of elman.network (SimpleRNN, Dense, ...), Sum, Concat, or a "
        "list of such."
    )


class ChainOp(Op):
    """Operations one after the other."""

    def __init__(self, ops: Sequence[Op]) -> None:
        self.ops = tuple(ops)

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        for op in self.ops:
            x, mask = op.forward(x, mask)
        return x, mask

    def backward(self, dy: Array) -> Array | None:
        gradient: Array | None = dy
        for op in reversed(self.ops):
            if gradient is None:  # nothing before this has a parameter
                return None
            gradient = op.backward(gradient)
        return gradient


class SumOp(Op):
    """Branches on the same input, added up."""

    def __init__(self, ops: Sequence[Op], place: Place, outputs: Sequence[tuple[int, ...]]) -> None:
        self.ops = tuple(ops)
        self.y = place.empty(*outputs[0])
        self.dx = place.empty(*place.shape) if place.wants_dx else None

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        masks = []
        for i, op in enumerate(self.ops):
            y, after = op.forward(x, mask)
            masks.append(after)
            if i:
                np.add(self.y, y, out=self.y)
            else:
                np.copyto(self.y, y)
        return self.y, _all_of(masks)

    def backward(self, dy: Array) -> Array | None:
        return _added([op.backward(dy) for op in self.ops], self.dx)


class ConcatOp(Op):
    """Branches on the same input, joined along the features."""

    def __init__(self, ops: Sequence[Op], place: Place, outputs: Sequence[tuple[int, ...]]) -> None:
        self.ops = tuple(ops)
        ends = np.cumsum([shape[-1] for shape in outputs]).tolist()
        self.y = place.empty(*outputs[0][:-1], ends[-1])
        self.slices = [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]
        self.dy = [place.empty(*shape) for shape in outputs] if place.training else []
        self.dx = place.empty(*place.shape) if place.wants_dx else None

    def forward(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        masks = []
        for op, columns in zip(self.ops, self.slices, strict=True):
            y, after = op.forward(x, mask)
            masks.append(after)
            self.y[..., columns] = y
        return self.y, _all_of(masks)

    def backward(self, dy: Array) -> Array | None:
        for part, columns in zip(self.dy, self.slices, strict=True):
            np.copyto(part, dy[..., columns])
        return _added([op.backward(part) for op, part in zip(self.ops, self.dy, strict=True)], self.dx)


def _all_of(masks: Sequence[Array | None]) -> Array | None:
    """A step is valid where all branches that have a mask say so."""
    known = [mask for mask in masks if mask is not None]
    return np.logical_and.reduce(known) if len(known) > 1 else known[0] if known else None


def _added(gradients: Sequence[Array | None], dx: Array | None) -> Array | None:
    """The sum of the branches' gradients of their common input, in `dx`; `None` where it is not wanted."""
    if dx is None:
        return None
    first, *others = [gradient for gradient in gradients if gradient is not None]
    np.copyto(dx, first)
    for gradient in others:
        np.add(dx, gradient, out=dx)
    return dx
