# SPDX-License-Identifier: Apache-2.0
"""A network in a file: safetensors, with the description as versioned JSON in its header. No code, no pickle.

In: a network and a path. Out: a file, or a network made of one. A checksum shows a changed bit. The description in a
file is checked as the arguments of a user are, since it is as little trusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.errors import DataError

if TYPE_CHECKING:
    from elman.network.network import Network

FORMAT = "elman.Network"
VERSION = 1  # raised when a reader of the version before would misread a file
_LONGEST = 1 << 20  # characters of a description


def snake(name: str) -> str:
    """`SimpleRNN` -> `simple_rnn`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def save(network: Network, path: Any) -> None:
    """Writes a network."""
    from elman import checkpoint

    if network.input_shape is None:
        raise DataError("the network has no weights yet; pass features=, or call it once, before it is saved.")
    metadata = {"format": FORMAT, "version": str(VERSION), "description": json.dumps(network.describe())}
    checkpoint.write(Path(path), network.weights, metadata)


def load(path: Any) -> Network:
    """Reads a network."""
    from elman import checkpoint

    remedy = "Expected a file of Network.save: save the network again."
    weights, metadata = checkpoint.read(Path(path), remedy, may_lack_checksum=True)
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is a safetensors file, but not of an elman.Network, or it is damaged.")
    version = metadata.get("version", "")
    if not version.isascii() or not version.isdigit() or int(version[:9]) > VERSION:
        raise DataError(
            f"{path} has version {version[:20]!r} of the format; this elman reads up to {VERSION}. Update elman."
        )
    return network_of(path, metadata.get("description", ""), weights)


def network_of(path: Any, text: str, weights: Mapping[str, Any]) -> Network:
    """The network of a description and its weights.

    Args:
        path: Where they come from, for errors.
        text: What `describe` returned, as JSON.
        weights: Arrays by name.

    Raises:
        DataError: If they do not fit each other.
    """
    from elman.network.network import Network

    if len(text) > _LONGEST:
        raise DataError(f"{path} has a description of {len(text):,} characters; expected at most {_LONGEST:,}.")
    try:
        description = json.loads(text)
        shape = tuple(description["input_shape"])
        network = Network(_entry(description["layers"]), dtype=description["dtype"])
        expected, got = network.weight_shapes(shape), {name: array.shape for name, array in weights.items()}
        if got != expected:  # before memory is taken for what a description asks for
            raise DataError(f"{path} is damaged: its arrays have the shapes {got}; expected {expected}.")
        network.build(shape)
        network.set_weights(weights)
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError, OverflowError, MemoryError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__}: {error}.") from error
    return network


def _entry(data: Any) -> Any:
    from elman.network import COMBINATORS, LAYERS

    if isinstance(data, list):
        return [_entry(each) for each in data]
    if "layer" in data:
        options = {key: value for key, value in data.items() if key not in ("layer", "name")}
        if data["layer"] not in LAYERS:
            raise ValueError(f"{data['layer']!r} is not a layer of elman; expected one of {', '.join(LAYERS)}")
        return LAYERS[data["layer"]](**options)
    ((name, branches),) = data.items()
    if name not in COMBINATORS:
        raise ValueError(f"{name!r} is not a combinator of elman; expected one of {', '.join(COMBINATORS)}")
    return COMBINATORS[name]([_entry(each) for each in branches])
