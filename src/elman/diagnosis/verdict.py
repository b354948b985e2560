# SPDX-License-Identifier: Apache-2.0
"""What the figures come to: a verdict, and at most three changes, each by a rule that stands here.

In: `Facts`. Out: a word, the sentence with the figures that it rests on, and advice. The verdict names what is seen;
the rules look for its cause in the settings, the nearest first: the data, the gradient that is cut, the scale of the
input, the learning rate, the activation, the initial weights, the length of sequences, gates, units, and last the
time of training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from elman.cells import BY_KERAS
from elman.diagnosis.layer import Advice, Layer

SOLVED, FAILED = 0.1, 0.5  # of the loss over that of the best constant
_SATURATED = 0.5  # of the values of a state
_GROWS = 0.02  # the exponent, per step, from which a difference grows in earnest
_REACHES = 0.01  # the share of a gradient that still teaches
_DRIVEN = 4.0  # root mean square of x W, at which tanh's slope is 0.001
_TOO_FAST = 10.0  # times the optimizer's own default
_SHRINKS, _EXPLODES = -0.5, 0.1  # exponents of the layer as it began
_DEAD = 0.5  # of relu units
_MOST = 3


class Setting(NamedTuple):
    """How a layer was made.

    Attributes:
        activation: By name.
        truncate: Its `truncate_gradient`.
        drive: The root mean square of x W.
        fresh: The exponent of the layer with weights as its initializers make them; `None` where not measured.
        initializer: A better one for its recurrent kernel, and `None` where there is none.
    """

    activation: str
    truncate: int | None
    drive: float
    fresh: float | None
    initializer: Any


class Facts(NamedTuple):
    """What a verdict rests on.

    Attributes:
        layers: The measured figures, by name.
        settings: By the same names.
        steps: Of a sequence, the median of the valid ones.
        horizon: Steps; `None` if there are NaN or infinities.
        need: Steps that the data asks for, or `None`.
        left: The share of the targets' variance that a linear model of single steps leaves, or `None`.
        ratio: The loss over that of the best constant, or `None` without targets.
        learning_rate: Of the optimizer and of its default; `None` where there is none.
        nonfinite_input: Whether x itself has NaN or infinities.
    """

    layers: dict[str, Layer]
    settings: dict[str, Setting]
    steps: int
    horizon: int | None
    need: int | None
    left: float | None
    ratio: float | None
    learning_rate: tuple[float, float] | None
    nonfinite_input: bool

    @property
    def asked(self) -> int:
        """How many steps back something is to be remembered, as far as it can be told."""
        return self.need or self.steps

    @property
    def solved(self) -> bool:
        """Whether the loss says so."""
        return self.ratio is not None and self.ratio <= SOLVED

    @property
    def failed(self) -> bool:
        """Whether the loss says so: it is near that of a constant, or twice that of a linear model of single steps."""
        known = FAILED if self.left is None else min(FAILED, max(SOLVED, 2 * self.left))
        return self.ratio is not None and self.ratio > known

    def reach(self) -> float:
        """What of a gradient the layer that carries most of it carries as far back as is asked."""
        return max(layer.reach[min(self.asked, len(layer.reach)) - 1] for layer in self.layers.values())


class Verdict(NamedTuple):
    """A word and the sentence that it rests on."""

    name: str
    because: str


def verdict(facts: Facts) -> Verdict:
    """What is seen; the first of the cases below that holds."""
    return next(found for case in _CASES if (found := case(facts)) is not None)


def _diverged(facts: Facts) -> Verdict | None:
    if facts.horizon is not None:
        return None
    for name, layer in facts.layers.items():
        if layer.first_nonfinite is not None:
            where = "in the input that you passed" if facts.nonfinite_input else "in the layer's states"
            return Verdict(
                "diverged", f"The first NaN or infinity is at step {layer.first_nonfinite} of layer {name!r}, {where}."
            )
    return Verdict("diverged", "The model's output has NaN or infinities, though its recurrent layers have none.")


def _solved(facts: Facts) -> Verdict | None:
    if not facts.solved:
        return None
    return Verdict("healthy", f"The loss is {facts.ratio:.2g} of that of the best constant. {_used(facts)}")


def _saturated(facts: Facts) -> Verdict | None:
    for name, layer in facts.layers.items():
        share = layer.saturation.get("h", 0.0) if not BY_KERAS[layer.kind].gated else 0.0
        if share > _SATURATED:
            return Verdict(
                "saturated",
                f"{100 * share:.0f} % of the states of layer {name!r} are within 1 % of where its activation ends, so "
                f"that little gradient passes. {_used(facts)}",
            )
    return None


def _exploding(facts: Facts) -> Verdict | None:
    for name, layer in facts.layers.items():
        if layer.lyapunov > _GROWS + 2 * layer.lyapunov_error:
            return Verdict(
                "exploding",
                f"Differences between states of layer {name!r} grow by a factor of {_factor(layer.lyapunov)} per step "
                f"(Lyapunov exponent {layer.lyapunov:+.3f}). {_used(facts)}",
            )
    return None


def _vanishing(facts: Facts) -> Verdict | None:
    if facts.reach() >= _REACHES or (facts.ratio is None and facts.need is None and not _short(facts)):
        return None
    name, layer = max(facts.layers.items(), key=lambda item: item[1].lyapunov)
    to = f"{facts.asked - 1} steps back, as far as the data asks" if facts.need else "at the first step"
    return Verdict(
        "vanishing",
        f"Of a gradient at the last step {facts.reach():.2g} arrives {to}; in layer {name!r}, which carries most of "
        f"it, it halves every {layer.half_life:.2g} steps. {_used(facts)}",
    )


def _short(facts: Facts) -> bool:
    """Whether the output depends on a small part of the sequence only."""
    return facts.horizon is not None and 4 * facts.horizon < facts.steps


def _unused(facts: Facts) -> Verdict | None:
    assert facts.horizon is not None
    if facts.need is not None and facts.horizon < facts.need:
        text = f"The data tells something {facts.need} steps back, and the output uses {facts.horizon}"
        return Verdict("memory unused", f"{text}, though a gradient of {facts.reach():.2g} arrives there.")
    if facts.horizon <= 1 < facts.steps and facts.need is None:
        return Verdict("memory unused", f"The output depends on the last step alone. {_used(facts)}")
    return None


def _short_data(facts: Facts) -> Verdict | None:
    assert facts.horizon is not None
    if facts.horizon < facts.steps or not (facts.need is None or facts.need >= facts.steps):
        return None
    if facts.ratio is None and facts.need is None:
        return None
    return Verdict(
        "data short of memory",
        f"The output uses all {facts.steps} steps of the sequences, to the first: what lies before them is missing, "
        "not memory.",
    )


def _underfits(facts: Facts) -> Verdict | None:
    if not facts.failed:
        return None
    told = "" if facts.need is not None else " No single step of the input tells anything of y: look at the data, too."
    return Verdict("underfits", f"The loss is {facts.ratio:.2g} of that of the best constant. {_used(facts)}{told}")


def _healthy(facts: Facts) -> Verdict | None:
    return Verdict("healthy", _used(facts))


_CASES: tuple[Callable[[Facts], Verdict | None], ...] = (
    _diverged,
    _solved,
    _saturated,
    _exploding,
    _vanishing,
    _unused,
    _short_data,
    _underfits,
    _healthy,
)


def _used(facts: Facts) -> str:
    need = f", and the data asks for {facts.need}" if facts.need is not None else ""
    return f"The output uses {facts.horizon} of {facts.steps} steps{need}."


def _factor(exponent: float) -> str:
    return f"{math.exp(exponent):.3g}"


# --- advice ----------------------------------------------------------------------------------------------------------


def advice(facts: Facts, name: str) -> list[Advice]:
    """At most three changes, the likeliest cause first; none where the verdict is healthy."""
    if name == "healthy":
        return []
    found: dict[str, Advice] = {}
    for rule in _RULES:
        for each in rule(facts):
            found.setdefault(each.argument, each)
    return list(found.values())[:_MOST]


def _clean_input(facts: Facts) -> Iterator[Advice]:
    if facts.nonfinite_input:
        yield Advice("x", None, "Fill or leave out the NaN and infinities of x, and train again from new weights.")


def _whole_gradient(facts: Facts) -> Iterator[Advice]:
    for name, setting in facts.settings.items():
        if setting.truncate is not None and setting.truncate < facts.asked:
            yield Advice(
                "truncate_gradient",
                None,
                f"Set truncate_gradient=None (or at least {facts.asked}) on layer {name!r}: at {setting.truncate} no "
                "gradient comes from further back.",
            )


def _scaled_input(facts: Facts) -> Iterator[Advice]:
    for name, setting in facts.settings.items():
        if setting.drive > _DRIVEN:
            yield Advice(
                "keras.layers.Normalization",
                None,
                f"Put keras.layers.Normalization(), adapted to x, before layer {name!r}: its input adds "
                f"{setting.drive:.3g} to the sums (root mean square), where about 1 is right.",
            )


def _slower(facts: Facts) -> Iterator[Advice]:
    if facts.learning_rate is None:
        return
    rate, usual = facts.learning_rate
    if rate > _TOO_FAST * usual:
        yield Advice(
            "learning_rate",
            usual,
            f"Set learning_rate={usual:g} and train from new weights: {rate:g} is {rate / usual:.0f} times the "
            "optimizer's default.",
        )
    elif facts.horizon is None and not facts.nonfinite_input:
        yield Advice(
            "learning_rate",
            rate / 10,
            f"Set learning_rate={rate / 10:g} and clipnorm=1.0 on the optimizer, and train from new weights.",
        )


def _activation(facts: Facts) -> Iterator[Advice]:
    for name, setting in facts.settings.items():
        layer = facts.layers[name]
        if not BY_KERAS[layer.kind].gated and setting.activation in {"sigmoid", "hard_sigmoid"}:
            yield Advice(
                "activation",
                "tanh",
                f'Set activation="tanh" on layer {name!r}: the slope of {setting.activation} is at most 1/4, and the '
                "gradient shrinks by that at every step.",
            )
        elif layer.dead > _DEAD:
            yield Advice(
                "activation",
                "tanh",
                f'Set activation="tanh" on layer {name!r}: {100 * layer.dead:.0f} % of its relu units are zero for '
                "every example, and learn nothing any more.",
            )


def _initial_weights(facts: Facts) -> Iterator[Advice]:
    for name, setting in facts.settings.items():
        least = -math.inf if facts.horizon is None else _SHRINKS  # of what diverged, only growth is a cause
        if setting.fresh is not None and not least <= setting.fresh <= _EXPLODES:
            how = "shrinks" if setting.fresh < 0 else "grows"
            text = f"Set recurrent_initializer={_spelt(setting.initializer)} on layer {name!r}"
            yield Advice(
                "recurrent_initializer",
                setting.initializer,
                f"{text} (elman.initializers.orthogonal_on_batch found the gain): with the present one a gradient "
                f"{how} by a factor of {_factor(setting.fresh)} per step before any training.",
            )


def _spelt(initializer: Any) -> str:
    return f"keras.initializers.Orthogonal(gain={initializer.get_config()['gain']:.3g})"


def _gates(facts: Facts) -> Iterator[Advice]:
    if facts.horizon is None:
        return
    if facts.reach() >= 5 * _REACHES and not (facts.need and facts.horizon and facts.horizon < facts.need):
        return
    for name, layer in facts.layers.items():
        if not BY_KERAS[layer.kind].gated and layer.units >= min(facts.asked, 16):
            yield Advice(
                "layer",
                "LSTM",
                f"Replace layer {name!r} by elman.LSTM({layer.units}): its gates carry a state over {facts.asked} "
                "steps without shrinking it at each.",
            )


def _more_units(facts: Facts) -> Iterator[Advice]:
    for name, layer in facts.layers.items():
        if facts.ratio is not None and layer.units < 2 * facts.asked:
            units = max(4 * layer.units, 8 * -(-2 * min(facts.asked, 128) // 8))
            yield Advice(
                "units",
                units,
                f"Set units={units} on layer {name!r}: {layer.units} units hold little of {facts.asked} steps.",
            )


def _longer_sequences(facts: Facts) -> Iterator[Advice]:
    if facts.horizon is not None and facts.horizon >= facts.steps and (facts.need or facts.steps) >= facts.steps:
        yield Advice(
            "window",
            2 * facts.steps,
            f"Pass longer sequences, of {2 * facts.steps} steps: these are used to the first.",
        )


def _longer_training(facts: Facts) -> Iterator[Advice]:
    if facts.ratio is not None and facts.horizon is not None:
        yield Advice("epochs", None, "Train for more epochs.")


_RULES: tuple[Callable[[Facts], Iterator[Advice]], ...] = (
    _clean_input,
    _whole_gradient,
    _scaled_input,
    _slower,
    _activation,
    _initial_weights,
    _longer_sequences,
    _gates,
    _more_units,
    _longer_training,
)
