# SPDX-License-Identifier: Apache-2.0
"""`elman.diagnose`: a model and the user's own data in, a `Report` out.

The order is: checks; one run whose calls are kept, which gives the figures of each layer; the runs with states reset;
the loss; the verdict. Advice is left for the report to ask for.
"""

from __future__ import annotations

import datetime
import functools
from typing import Any, NamedTuple

import numpy as np

from elman import __version__
from elman.diagnosis import gates, gradient, horizon, inputs, need, observe, settings
from elman.diagnosis.call import Array, Call, last_valid
from elman.diagnosis.figures import LayerFigures
from elman.diagnosis.losses import Loss
from elman.diagnosis.observe import Seen
from elman.diagnosis.observed import Observed, Recurrent
from elman.diagnosis.report import Report
from elman.diagnosis.verdict import Facts, advice, verdict

_INSIDE = 64  # examples whose gates are computed


def diagnose(model: Any, x: Any, y: Any = None, layer: str | None = None, *, loss: Any = None, seed: int = 0) -> Report:
    """Measures how far back a model remembers, and says what to change.

    elman computes the model's recurrent layers (`SimpleRNN`, `LSTM`, `GRU`, elman's or Keras's) in float64 on the data
    that is passed, so that the figures of a layer do not depend on a backend. The model is not changed. For an
    `elman.Network` no framework is imported.

    Args:
        model: An `elman.Network` or a Keras model. Its last output counts: if an output has every step, the last valid
            one.
        x: Inputs as for `network(x)` or `model.predict`: an array, or one for each input. Up to 256 examples are drawn
            from it. Best pass data that the model was not trained on.
        y: Optional targets. With them the loss is measured too, and the verdict takes into account whether the model
            fails. Without them it is not known how far back the task asks.
        layer: Name of the one layer to measure and to reset; all of them, if `None`.
        loss: The loss to measure, as `Network.fit` or `model.compile` takes it. If `None`, that of a compiled model;
            else the mean squared error.
        seed: Seed for the draw of examples, the gradient's directions, and the intervals.

    Returns:
        The report: `.horizon`, `.verdict`, `.because`, `.advice`, `.layers[name]`, `.lines()`, `.plot()`,
        `.to_html(path)`, `.to_dict()`, `.compare(other)`.

    Raises:
        TypeError: If `model` is neither, or `x` or `y` does not hold numbers.
        ValueError: If `y` has NaN, the model has no recurrent layer or a stateful one, a shape does not fit, there is
            one example or one step, or the output is the same for all examples.

    Example:

        report = elman.diagnose(model, x_validation, y_validation)
        print(report.horizon, report.verdict)
        report.to_html("memory.html")
    """
    measured = _measured(inputs.observed("diagnose", model, x, loss), y, layer, seed)
    seen, curve, learned, facts = measured.seen, measured.curve, measured.learned, measured.facts
    found = verdict(facts)
    return Report(
        model=measured.model.name,
        examples=len(seen.outputs),
        of=measured.available,
        steps=measured.first.x.shape[1],
        horizon=facts.horizon,
        horizon_low=None if curve is None else curve.low,
        horizon_high=None if curve is None else curve.high,
        lags=[] if curve is None else curve.kept,
        deviation=[] if curve is None else curve.deviation,
        loss=None if curve is None or learned is None else [learned.loss(outputs) for outputs in curve.outputs],
        full_loss=None if learned is None else learned.full,
        loss_name=None if learned is None else learned.loss.name,
        need=facts.need,
        layers=facts.layers,
        verdict=found.name,
        because=found.because,
        notes=_notes(measured, layer),
        date=datetime.date.today().isoformat(),
        version=__version__,
        advise=functools.partial(advice, facts, found.name),
    )


class _Learned(NamedTuple):
    """What targets show.

    Attributes:
        loss: The loss against them.
        full: The loss with nothing forgotten; `None` if there are NaN or infinities.
        ratio: `full` over the loss of the best constant.
        need: What the data asks for, if it is known.
    """

    loss: Loss
    full: float | None
    ratio: float | None
    need: need.Need | None


class _Measured(NamedTuple):
    """Everything that was measured.

    Attributes:
        model: The model.
        layers: The layers that are measured.
        seen: The run with nothing reset.
        available: The number of examples, before some were drawn.
        curve: The runs with states reset; `None` if there are NaN or infinities.
        learned: What targets show; `None` without targets.
        facts: What the verdict depends on.
    """

    model: Observed
    layers: list[Recurrent]
    seen: Seen
    available: int
    curve: horizon.Curve | None
    learned: _Learned | None
    facts: Facts

    @property
    def first(self) -> Call:
        """The call of the first measured layer."""
        return self.seen.calls[self.layers[0].name]


def _measured(model: Observed, y: Any, layer: str | None, seed: int) -> _Measured:
    layers = inputs.measured(model, layer)
    y = None if y is None else inputs.targets(model, y)
    some, targets, count = inputs.sample(model.x, y, seed)
    seen = observe.run(model, some, keep_tapes=True)
    _check_seen(model, layers, seen)
    figures = {each.name: _figures(each.kind, seen.calls[each.name], seed) for each in layers}
    finite = bool(np.isfinite(seen.outputs).all()) and all(f.first_nonfinite is None for f in figures.values())
    learned = None if targets is None else _learned(model, y, layers[0], seen, targets, finite=finite)
    curve = None
    if finite:
        _check_differs(model, seen.outputs, figures, targets)
        curve = horizon.measure(horizon.Resets(model, some, list(figures), seen), seed)
    facts = _facts(model, some, layers, seen, figures, curve, learned)
    return _Measured(model, layers, seen, count, curve, learned, facts)


def _learned(model: Observed, y: Array, first: Recurrent, seen: Seen, targets: Array, *, finite: bool) -> _Learned:
    """What targets show.

    Args:
        model: The model.
        y: All targets.
        first: The first of the layers that are measured.
        seen: The run on the examples that were drawn.
        targets: Their targets.
        finite: Whether outputs and states are finite.
    """
    if seen.shape is None:
        raise ValueError(f"Model {model.name!r} has several outputs; expected one where y is passed. Leave y out.")
    call = seen.calls[first.name]
    loss = Loss(model.criterion, _last_targets(targets, seen.shape, call.valid), seen.shape)
    if not finite:
        return _Learned(loss, None, None, None)
    full = loss(seen.outputs)
    found = _need(model, y, first, call, seen.shape) if need.measurable(*call.x.shape[::2]) else None
    return _Learned(loss, full, full / max(loss.of_a_constant(), 1e-12), found)


def _last_targets(targets: Array, shape: tuple[int, ...], valid: Array) -> Array:
    """The last valid step of targets that have every step."""
    if targets.ndim < 2 or targets.shape[:2] != valid.shape or targets.shape[1:] == shape:
        return targets
    return targets[np.arange(len(targets)), last_valid(valid)]


def _need(model: Observed, y: Array, first: Recurrent, call: Call, shape: tuple[int, ...]) -> need.Need | None:
    """How far back the data asks, by the input of the first measured layer on more examples than the others."""
    some, targets, _ = inputs.sample(model.x, y, 0, most=need.MOST_EXAMPLES)
    assert targets is not None
    called = call if len(targets) == len(call.x) else observe.input_of(model, some, first.name)
    numbers = Loss(model.criterion, _last_targets(targets, shape, called.valid), shape).numbers()
    return need.of(called.x, numbers, called.valid)


def _facts(
    model: Observed,
    x: list[Array],
    layers: list[Recurrent],
    seen: Seen,
    figures: dict[str, LayerFigures],
    curve: horizon.Curve | None,
    learned: _Learned | None,
) -> Facts:
    calls = {each.name: seen.calls[each.name] for each in layers}
    needed = None if learned is None else learned.need
    compares = needed is not None and learned is not None and not learned.loss.crossentropy
    return Facts(
        layers=figures,
        settings=functools.cache(lambda: {each.name: settings.of(each, calls[each.name]) for each in layers}),
        steps=int(np.median([call.valid.sum(axis=1) for call in calls.values()])),
        horizon=None if curve is None else curve.horizon,
        need=None if needed is None else needed.steps,
        left=needed.left if needed is not None and compares else None,
        ratio=None if learned is None else learned.ratio,
        learning_rate=model.learning_rate,
        nonfinite_input=not all(np.isfinite(part).all() for part in x),
        words=model.words,
        bypassed=model.bypassed,
    )


def _check_seen(model: Observed, layers: list[Recurrent], seen: Seen) -> None:
    for name in (each.name for each in layers):
        if name not in seen.calls:
            raise ValueError(
                f"Layer {name!r} is in model {model.name!r}, whose call does not use it; expected a layer that takes "
                "part. Name another one with layer."
            )
        steps = seen.calls[name].x.shape[1]
        if steps < 2:
            raise ValueError(
                f"Layer {name!r} reads sequences of {steps} step; expected at least 2. With one step there is "
                "nothing to remember: pass longer sequences."
            )
        if not seen.calls[name].valid.any(axis=1).all():
            raise ValueError(
                f"Layer {name!r} reads an example that is masked at every step; expected at least one valid step. "
                "Leave such examples out."
            )


def _check_differs(model: Observed, outputs: Array, figures: dict[str, LayerFigures], targets: Array | None) -> None:
    """Refuses an output that is the same for all examples, unless targets differ: then the diagnosis explains it."""
    if not is_constant(outputs) or (targets is not None and len(np.unique(targets, axis=0)) > 1):
        return
    name, worst = max(figures.items(), key=lambda item: max(item[1].dead, *item[1].saturation.values()))
    if worst.dead == 1:
        cause = f"All relu units of layer {name!r} are zero: train from new weights with a lower learning rate."
    elif max(worst.saturation.values()) > 0.9:
        cause = f"Layer {name!r} is saturated: scale its input, or train from new weights with a lower learning rate."
    else:
        cause = "Pass examples that differ, or look at the layers after the recurrent ones."
    raise ValueError(
        f"The output of model {model.name!r} is the same for all {len(outputs)} examples, so nothing can be measured "
        f"against it; expected outputs that differ. {cause}"
    )


def is_constant(outputs: Array) -> bool:
    """Whether an output is the same for all examples, up to rounding."""
    if not np.isfinite(outputs).all():
        return False
    return bool(np.abs(outputs - outputs.mean(axis=0)).max() <= 4e-6 * np.abs(outputs).max())


def _figures(kind: str, call: Call, seed: int) -> LayerFigures:
    reach = gradient.reach(call, seed)
    few = call.rows(slice(0, _INSIDE))
    inside = gates.inside(few)
    return LayerFigures(
        kind=kind,
        units=call.units,
        lags=reach.lags,
        reach=reach.middle,
        reach_low=reach.low,
        reach_high=reach.high,
        lyapunov=reach.exponent,
        lyapunov_error=reach.error,
        half_life=gradient.half_life(reach.exponent),
        forgetting=gradient.forgetting(call, seed),
        saturation=gates.saturation(few, inside),
        dead=gates.dead(few, inside),
        first_nonfinite=call.first_nonfinite(),
    )


def _notes(measured: _Measured, layer: str | None) -> list[str]:
    layers, seen, every = measured.layers, measured.seen, measured.model.recurrent
    notes = []
    if measured.facts.nonfinite_input and np.isfinite(seen.outputs).all():
        notes.append("The input has infinities, which an activation limits: check the data.")
    if is_constant(seen.outputs):
        notes.append("The output is the same for all examples.")
    if measured.model.bypassed and measured.facts.horizon:
        notes.append(
            "A path next to the recurrent layers sees the whole input, whatever they forget. The figures are about the "
            "recurrent layers."
        )
    backward = [each for each in every if each.backward]
    if backward:
        names = ", ".join(repr(each.name) for each in backward)
        notes.append(f"Only the forward half of a Bidirectional is measured and reset, not {names}.")
    if layer is not None and len(layers) + len(backward) < len(every):
        notes.append(f"Only layer {layer!r} is measured and reset; the others keep their states.")
    for name, times in seen.times.items():
        if times > 1:
            notes.append(f"Layer {name!r} is called {times} times; its figures are those of the first call.")
    notes += [
        f"Layer {each.name!r} is trained with truncate_gradient={each.truncate}; reach is measured without it."
        for each in layers
        if each.truncate is not None
    ]
    return notes
