# SPDX-License-Identifier: Apache-2.0
"""What is timed: the shapes, the arrays of one shape (seeded, the same for everyone), and their flops.

Shapes: B batch, T time, F features, H units, written 32x50x8x32 on the command line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

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
ONE_STEP = Shape(1, 1, 8, 32)  # what a call costs beside the arithmetic


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
                f"{part.strip()!r} is no shape; expected batch x time x features x units, four positive integers. "
                "Write 32x50x8x32, and a comma between shapes."
            )
        shapes.append(Shape(*map(int, sizes)))
    return tuple(shapes)


def flops(shape: Shape, which: str) -> int:
    """Floating-point operations of the products alone, a multiply-add counted as two.

    Forward: `2*B*T*(F+H)*H`. The backward adds `2*B*T*(F+H)*H` for the weights' gradients and `2*B*T*H*H` for the
    states'; dx is not computed. Activations and the bias are not counted.
    """
    batch, time, features, units = shape
    forward = 2 * batch * time * (features + units) * units
    return forward if which == "forward" else 2 * forward + 2 * batch * time * units * units


class Problem(NamedTuple):
    """The arrays of one shape, float32."""

    x: Array  # (B, T, F)
    kernel: Array  # (F, H)
    recurrent_kernel: Array  # (H, H)
    bias: Array  # (H,)
    dy: Array  # (B, T, H)

    @property
    def weights(self) -> tuple[Array, Array, Array]:
        """kernel, recurrent_kernel, bias."""
        return self.kernel, self.recurrent_kernel, self.bias


def problem(shape: Shape, seed: int) -> Problem:
    """Arrays with the distributions that Keras starts from (Glorot uniform, orthogonal), and a bias that counts."""
    batch, time, features, units = shape
    rng = np.random.default_rng([seed, *shape])
    limit = np.sqrt(6 / (features + units))
    arrays = (
        rng.normal(size=(batch, time, features)),
        rng.uniform(-limit, limit, (features, units)),
        np.linalg.qr(rng.normal(size=(units, units))).Q,
        rng.normal(scale=0.1, size=units),
        rng.normal(size=(batch, time, units)),
    )
    return Problem(*(np.ascontiguousarray(array, dtype=np.float32) for array in arrays))
