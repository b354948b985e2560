# SPDX-License-Identifier: Apache-2.0
"""What the figures mean: a verdict, and at most three changes. Each rule stands in this file.

In: `Facts`. Out: a word, the sentence with the figures behind it, and advice. The verdict names what is seen. The rules
of the advice look for its cause in the settings, in this order: the data, a gradient that is cut, the scale of the
input, the learning rate, the activation, the initial weights, the length of sequences, gates, units, and the time of
training.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from elman.cells import BY_KERAS
from elman.diagnosis.figures import Advice, LayerFigures
from elman.diagnosis.observed import Words

SOLVED, FAILED = 0.1, 0.5  # of the loss over that of the best constant
_LEARNED_NOTHING = 0.95  # of the same; new weights are seldom better by chance
_SATURATED = 0.5  # of the values of a state
_GROWS = 0.02  # the exponent, per step, above which a difference counts as growing
_REACHES = 0.01  # the share of a gradient that is still enough to learn from
_DRIVEN = 4.0  # root mean square of x W, at which the slope of tanh is 0.001
_TOO_FAST = 10.0  # times the optimizer's own default
_SHRINKS, _EXPLODES = -0.5, 0.1  # exponents of a layer with new initial weights
_DEAD = 0.5  # of relu units
_MOST = 3
HEALTHY, NO_FAULT, NOT_USED = "healthy", "no fault found", "no memory used"


class Setting(NamedTuple):
    """How a layer was set up.

    Attributes:
        activation: By name.
        truncate: Its `truncate_gradient`.
        drive: The root mean square of x W.
        fresh: Measures the exponent of the layer with new weights from its initializers; returns `None` if it has none.
        initializer: Finds a better initializer for its recurrent kernel.
    """

    activation: str
    truncate: int | None
    drive: float
    fresh: Callable[[], float | None]
    initializer: Callable[[], Any]


class Facts(NamedTuple):
    """What a verdict and its advice depend on.

    Attributes:
        layers: The measured figures, by name.
        settings: Returns the settings, by the same names. Only the advice calls it.
        steps: Time steps of a sequence, the median of the valid ones.
        horizon: Steps; `None` if there are NaN or infinities.
        need: Steps that the data asks for, or `None`.
        left: The share of the targets' variance that a linear model of single steps does not explain, or `None`.
        ratio: The loss over that of the best constant, or `None` without targets.
        learning_rate: That of the optimizer and the default of its class; `None` if there is none.
        nonfinite_input: Whether x itself has NaN or infinities.
        words: How the advice names what a user can change.
        bypassed: Whether a path next to the recurrent layers leads from the input to the output.
    """

    layers: dict[str, LayerFigures]
    settings: Callable[[], dict[str, Setting]]
    steps: int
    horizon: int | None
    need: int | None
    left: float | None
    ratio: float | None
    learning_rate: tuple[float, float] | None
    nonfinite_input: bool
    words: Words
    bypassed: bool = False

    @property
    def asked(self) -> int:
        """How many steps back the network must remember, as far as it is known."""
        return self.need or self.steps

    @property
    def solved(self) -> bool:
        """Whether the loss is small."""
        return self.ratio is not None and self.ratio <= SOLVED

    @property
    def failed(self) -> bool:
        """Whether the loss is near that of a constant, or twice that of a linear model of single steps."""
        known = FAILED if self.left is None else min(FAILED, max(SOLVED, 2 * self.left))
        return self.ratio is not None and self.ratio > known

    @property
    def learned_nothing(self) -> bool:
        """Whether the loss is that of a constant, or worse: what the model does shows nothing about the data then."""
        return self.ratio is not None and self.ratio > _LEARNED_NOTHING

    def reach(self) -> float:
        """The share of a gradient that arrives as far back as is asked, in the layer that carries most of it."""
        return max(layer.reach[min(self.asked, len(layer.reach)) - 1] for layer in self.layers.values())


class Verdict(NamedTuple):
    """A word, and the sentence with the figures behind it."""

    name: str
    because: str


def verdict(facts: Facts) -> Verdict:
    """The first case of `_CASES` that holds; of a model that learned nothing, the sentence says so."""
    found = next(seen for case in _CASES if (seen := case(facts)) is not None)
    if not facts.learned_nothing:
        return found
    return found._replace(
        because=f"{found.because} The loss is {facts.ratio:.2g} times that of the best constant: the model is not "
        "trained, or what it learned does not hold for these examples."
    )


def _diverged(facts: Facts) -> Verdict | None:
    if facts.horizon is not None:
        return None
    for name, layer in facts.layers.items():
        if layer.first_nonfinite is not None:
            where = "in the input that you passed" if facts.nonfinite_input else "in the layer's states"
            return Verdict(
                "diverged", f"The first NaN or infinity is at step {layer.first_nonfinite} of layer {name!r}, {where}."
            )
    return Verdict("diverged", "The model's output has NaN or infinities; its recurrent layers have none.")


def _passed_by(facts: Facts) -> Verdict | None:
    if not facts.bypassed or facts.horizon != 0:
        return None
    share = (
        ""
        if facts.ratio is None or facts.learned_nothing
        else f" The loss is {facts.ratio:.2g} of that of the best constant."
    )
    return Verdict(
        NOT_USED,
        "The recurrent layers play no part in the output: with every step forgotten it stays within 5 %. The path next "
        f"to them, which sees the whole input, makes all of it.{share}",
    )


def _solved(facts: Facts) -> Verdict | None:
    if not facts.solved:
        return None
    return Verdict(HEALTHY, f"The loss is {facts.ratio:.2g} of that of the best constant. {_used(facts)}")


def _saturated(facts: Facts) -> Verdict | None:
    for name, layer in facts.layers.items():
        share = layer.saturation.get("h", 0.0) if not BY_KERAS[layer.kind].gated else 0.0
        if share > _SATURATED:
            return Verdict(
                "saturated",
                f"{100 * share:.0f} % of the states of layer {name!r} are within 1 % of a limit of its activation, so "
                f"little gradient passes. {_used(facts)}",
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
        f"Only {facts.reach():.2g} of a gradient at the last step arrives {to}. In layer {name!r}, which carries it "
        f"furthest, it halves every {layer.half_life:.2g} steps. {_used(facts)}",
    )


def _short(facts: Facts) -> bool:
    """Whether the output depends on a small part of the sequence."""
    return facts.horizon is not None and 4 * facts.horizon < facts.steps


def _unused(facts: Facts) -> Verdict | None:
    assert facts.horizon is not None
    if facts.need is not None and facts.horizon < facts.need:
        return Verdict(
            "memory unused",
            f"The output uses {facts.horizon} steps and the data asks for {facts.need}, though {facts.reach():.2g} of "
            "a gradient arrives there.",
        )
    if facts.horizon <= 1 < facts.steps and facts.need is None:
        alone = "The output depends on the last step alone. " if facts.horizon == 1 else ""
        return Verdict("memory unused", alone + _used(facts))
    return None


def _short_data(facts: Facts) -> Verdict | None:
    assert facts.horizon is not None
    if facts.horizon < facts.steps or facts.learned_nothing or not (facts.need is None or facts.need >= facts.steps):
        return None
    if facts.ratio is None and facts.need is None:
        return None
    return Verdict(
        "data short of memory",
        f"The output uses all {facts.steps} steps of the sequences, back to the first. Longer sequences are missing, "
        "not memory.",
    )


def _underfits(facts: Facts) -> Verdict | None:
    if not facts.failed:
        return None
    share = "" if facts.learned_nothing else f"The loss is {facts.ratio:.2g} of that of the best constant. "
    text = share + _used(facts)
    if facts.need is None:
        text += " No single step of the input carries information on y: check the data, too."
    return Verdict("underfits", text)


def _no_fault(facts: Facts) -> Verdict | None:
    if facts.ratio is not None:
        return Verdict(HEALTHY, _used(facts))
    return Verdict(NO_FAULT, f"{_used(facts)} Without targets it is not known whether that is enough: pass y.")


_CASES: tuple[Callable[[Facts], Verdict | None], ...] = (
    _diverged,
    _passed_by,
    _solved,
    _saturated,
    _exploding,
    _vanishing,
    _unused,
    _short_data,
    _underfits,
    _no_fault,
)


def _used(facts: Facts) -> str:
    if facts.horizon == 0:
        need = f" The data asks for {facts.need} steps." if facts.need is not None else ""
        return f"The recurrent state plays no part: with every step forgotten, the output stays within 5 %.{need}"
    need = f", and the data asks for {facts.need}" if facts.need is not None else ""
    return f"The output uses {facts.horizon} of {facts.steps} steps{need}."


def _factor(exponent: float) -> str:
    return f"{math.exp(exponent):.3g}"


# --- advice ----------------------------------------------------------------------------------------------------------


def advice(facts: Facts, name: str) -> list[Advice]:
    """At most three changes, the likeliest cause first; none if the verdict names no fault.

    Args:
        facts: The facts that the verdict came from.
        name: The verdict's word.
    """
    if name in {HEALTHY, NO_FAULT, NOT_USED}:
        return []
    changes: dict[str, Advice] = {}
    for change in itertools.chain.from_iterable(rule(facts) for rule in _RULES):
        changes.setdefault(change.argument, change)
        if len(changes) == _MOST:
            break  # the rules that follow are not computed
    return list(changes.values())


def _clean_input(facts: Facts) -> Iterator[Advice]:
    if facts.nonfinite_input:
        yield Advice("x", None, "Fill or leave out the NaN and infinities of x, and train again from new weights.")


def _whole_gradient(facts: Facts) -> Iterator[Advice]:
    for name, setting in facts.settings().items():
        if setting.truncate is not None and setting.truncate < facts.asked:
            yield Advice(
                "truncate_gradient",
                None,
                f"Set truncate_gradient=None (or at least {facts.asked}) on layer {name!r}: with {setting.truncate} no "
                "gradient arrives from further back.",
            )


def _scaled_input(facts: Facts) -> Iterator[Advice]:
    for name, setting in facts.settings().items():
        if setting.drive > _DRIVEN:
            yield Advice(
                facts.words.normalization,
                None,
                f"Put {facts.words.normalized} before layer {name!r}: its input adds "
                f"{setting.drive:.3g} to the sums (root mean square); about 1 is right.",
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
            f"Set learning_rate={rate / 10:g} and {facts.words.clipping}, and train from new weights.",
        )


def _activation(facts: Facts) -> Iterator[Advice]:
    for name, setting in facts.settings().items():
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
                "every example, and can no longer learn.",
            )


def _initial_weights(facts: Facts) -> Iterator[Advice]:
    for name, setting in facts.settings().items():
        least = -math.inf if facts.horizon is None else _SHRINKS  # what diverged can only have grown
        fresh = setting.fresh()
        if fresh is not None and not least <= fresh <= _EXPLODES:
            how = "shrinks" if fresh < 0 else "grows"
            initializer = setting.initializer()
            yield Advice(
                "recurrent_initializer",
                initializer,
                f"Set recurrent_initializer={_spelt(initializer)} on layer {name!r} (the gain is from "
                f"elman.initializers.orthogonal_on_batch): with the present one a gradient {how} by a factor of "
                f"{_factor(fresh)} per step before any training.",
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
                f"Replace layer {name!r} with {facts.words.gated}({layer.units}): its gates carry a state over "
                f"{facts.asked} steps without shrinking it at each step.",
            )


def _more_units(facts: Facts) -> Iterator[Advice]:
    for name, layer in facts.layers.items():
        if facts.ratio is not None and layer.units < 2 * facts.asked:
            units = max(4 * layer.units, 8 * -(-2 * min(facts.asked, 128) // 8))
            yield Advice(
                "units",
                units,
                f"Set units={units} on layer {name!r}: {layer.units} units can hold little of {facts.asked} steps.",
            )


def _longer_sequences(facts: Facts) -> Iterator[Advice]:
    if facts.horizon is None or facts.learned_nothing:
        return
    if facts.horizon >= facts.steps and (facts.need or facts.steps) >= facts.steps:
        yield Advice(
            "window",
            2 * facts.steps,
            f"Pass longer sequences, of {2 * facts.steps} steps: these are used back to the first step.",
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
