# SPDX-License-Identifier: Apache-2.0
"""What is timed: the shapes, the arrays of one shape (seeded, the same for everyone), and their flops.

Shapes: B batch, T time, F features, H units, written 32x50x8x32 on the command line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from elman.cells import CELLS

Array = np.ndarray

PASSES = ("forward", "forward_backward")


class Shape(NamedTuple):
    """One case."""

    batch: int
    time: int
    features: int
    units: int

    def __str__(self) -> str:
        return "x".join(map(str, self))


DEFAULT = tuple(
    Shape(*sizes)
    for sizes in (
        (32, 5, 3, 10),
        (32, 50, 8, 32),
        (32, 100, 32, 128),
        (64, 100, 128, 256),
        (32, 1000, 16, 64),
        (128, 50, 64, 512),
        (1, 100, 8, 32),
        (7, 33, 5, 47),
    )
)
QUICK = (Shape(32, 5, 3, 10), Shape(7, 33, 5, 47))
ONE_STEP = Shape(1, 1, 8, 32)  # what a call costs besides the arithmetic


def parse(text: str) -> tuple[Shape, ...]:
    """Shapes from text such as `"32x50x8x32,7x33x5x47"`.

    Raises:
        ValueError: If a part is not four positive integers.
    """
    shapes = []
    for part in text.split(","):
        sizes = part.strip().split("x")
        if len(sizes) != 4 or not all(re.fullmatch("[1-9][0-9]*", size) for size in sizes):
            raise ValueError(
                f"{part.strip()!r} is not a shape; expected batch x time x features x units, four positive integers. "
                "Write 32x50x8x32, and a comma between shapes."
            )
        shapes.append(Shape(*map(int, sizes)))
    return tuple(shapes)


def flops(shape: Shape, which: str, cell: str = "simple_rnn") -> int:
    """Floating-point operations of the products alone, a multiply-add counted as two.

    Forward, with G gates: `2*B*T*(F+H)*G*H`. The backward adds `2*B*T*(F+H)*G*H` for the weights' gradients and
    `2*B*T*H*G*H` for the states'; dx is not computed. Activations, gates and biases are not counted.
    """
    batch, time, features, units = shape
    columns = len(CELLS[cell].gates) * units
    forward = 2 * batch * time * (features + units) * columns
    return forward if which == "forward" else 2 * forward + 2 * batch * time * units * columns


class Problem(NamedTuple):
    """The arrays of one shape, float32, and the name of the cell."""

    x: Array  # (B, T, F)
    kernel: Array  # (F, G*H)
    recurrent_kernel: Array  # (H, G*H)
    bias: Array  # (G*H,), or (2, G*H) for a cell with two biases
    dy: Array  # (B, T, H)
    cell: str

    @property
    def units(self) -> int:
        """H."""
        return len(self.recurrent_kernel)

    @property
    def weights(self) -> tuple[Array, Array, Array]:
        """kernel, recurrent_kernel, bias."""
        return self.kernel, self.recurrent_kernel, self.bias

    @property
    def arrays(self) -> tuple[Array, Array, Array, Array, Array]:
        """x, kernel, recurrent_kernel, bias, dy."""
        return self.x, *self.weights, self.dy


def problem(shape: Shape, seed: int, cell: str = "simple_rnn") -> Problem:
    """Arrays with the distributions that Keras starts from (Glorot uniform, orthogonal), and a bias that counts."""
    batch, time, features, units = shape
    rng = np.random.default_rng([seed, *shape])
    columns = len(CELLS[cell].gates) * units
    limit = np.sqrt(6 / (features + columns))
    arrays = (
        rng.normal(size=(batch, time, features)),
        rng.uniform(-limit, limit, (features, columns)),
        np.linalg.qr(rng.normal(size=(columns, units))).Q.T,
        rng.normal(scale=0.1, size=(2, columns) if CELLS[cell].two_biases(True) else columns),
        rng.normal(size=(batch, time, units)),
    )
    x, kernel, recurrent_kernel, bias, dy = (np.ascontiguousarray(array, dtype=np.float32) for array in arrays)
    return Problem(x, kernel, recurrent_kernel, bias, dy, cell)
