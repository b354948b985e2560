# SPDX-License-Identifier: Apache-2.0
"""`elman.diagnose`: a model and the user's own data in, a `Report` out.

The order is: checks; one run with everything kept, which gives each layer's input; the figures of each layer; the runs
with states reset; the loss; the verdict.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import keras
import numpy as np

from elman import initializers
from elman.cells import CELLS
from elman.diagnosis import checks, gates, gradient, horizon, need, observe
from elman.diagnosis.checks import Layers
from elman.diagnosis.layer import Layer
from elman.diagnosis.losses import Loss
from elman.diagnosis.observe import Array, Call, Found, Seen
from elman.diagnosis.report import Report
from elman.diagnosis.verdict import Facts, Setting, advice, verdict

_INSIDE = 64  # examples whose gates are looked at
_LARGEST = {"float64": 1.8e308, "float32": 3.4e38, "bfloat16": 3.38e38, "float16": 65504.0}  # what a type holds


def diagnose(model: Any, x: Any, y: Any = None, layer: str | None = None, *, seed: int = 0) -> Report:
    """Measures how far back a model remembers, and says what to change.

    The model's recurrent layers (`SimpleRNN`, `LSTM`, `GRU`, elman's or Keras's) are computed by elman in float64 on
    the data that is passed, so that the figures of a layer are the same on every backend. The model is left as it is.

    Args:
        model: A Keras model. Its last output counts: of an output that has every step, the last valid one.
        x: Inputs as for `model.predict`: an array, or one for each input. Up to 256 examples are drawn from it; data
            that was not trained on tells most.
        y: Optional targets. With them the loss is measured too, by the loss of a compiled model (else the mean
            squared error), and the verdict knows whether the model fails.
        layer: Name of the one layer to measure and to reset; all of them, if `None`.
        seed: Of the draw of examples, of the gradient's directions, and of the intervals.

    Returns:
        The report: `.horizon`, `.verdict`, `.because`, `.advice`, `.layers[name]`, `.lines()`, `.plot()`,
        `.to_html(path)`, `.to_dict()`, `.compare(other)`.

    Raises:
        TypeError: If `model` is no Keras model, or `x` or `y` holds no numbers.
        ValueError: If `y` has NaN, the model has no recurrent layer or a stateful one, a shape does not fit, there is
            one example or one step, or the output is the same for all examples.

    Example:

        report = elman.diagnose(model, x_validation, y_validation)
        print(report.horizon, report.verdict)
        report.to_html("memory.html")
    """
    layers = checks.layers("diagnose", model, layer)
    x = checks.arrays("diagnose", model, x)
    y = None if y is None else checks.targets(model, y)
    some, targets, count = checks.sample(x, y, seed)
    every = observe.all_layers(model)
    seen = observe.run(model, some, every)
    _check_seen(model, layers, seen)
    figures = {each.name: _figures(each, seen.calls[each.name], seed) for each in layers.measured}
    finite = bool(np.isfinite(seen.outputs).all()) and all(f.first_nonfinite is None for f in figures.values())
    learned = None if targets is None else _learned(model, x, y, layers, seen, targets, finite=finite)
    curve = None
    if finite:
        _check_differs(model, seen.outputs, figures, targets)
        resets = horizon.Resets(model, some, every, list(figures), seen.calls[layers.measured[0].name].x.shape[1])
        curve = horizon.measure(resets, seen.outputs, seed)
    facts = _facts(model, some, layers, seen, figures, curve, learned)
    found = verdict(facts)
    return Report(
        model=model.name,
        examples=len(seen.outputs),
        of=count,
        steps=seen.calls[layers.measured[0].name].x.shape[1],
        horizon=facts.horizon,
        horizon_low=None if curve is None else curve.low,
        horizon_high=None if curve is None else curve.high,
        lags=[] if curve is None else curve.kept,
        deviation=[] if curve is None else curve.deviation,
        loss=None if curve is None or learned is None else [learned.loss(outputs) for outputs in curve.outputs],
        full_loss=None if learned is None else learned.full,
        loss_name=None if learned is None else learned.loss.name,
        need=facts.need,
        layers=figures,
        verdict=found.name,
        because=found.because,
        advice=advice(facts, found.name),
        notes=_notes(model, layers, layer, seen, nonfinite_input=facts.nonfinite_input),
    )


class _Learned(NamedTuple):
    """What targets tell.

    Attributes:
        loss: Against them.
        full: With nothing forgotten; `None` if there are NaN or infinities.
        ratio: That over the loss of the best constant.
        need: What the data asks for, where it can be told.
    """

    loss: Loss
    full: float | None
    ratio: float | None
    need: need.Need | None


def _learned(model: Any, x: Any, y: Any, layers: Layers, seen: Seen, targets: Array, *, finite: bool) -> _Learned:
    """x and y are all examples, `seen` and `targets` those that were drawn."""
    loss = _loss(model, seen, targets, seen.calls[layers.measured[0].name].valid)
    if not finite:
        return _Learned(loss, None, None, None)
    full = loss(seen.outputs)
    return _Learned(loss, full, full / max(loss.of_a_constant(), 1e-12), _need(model, x, y, layers))


def _facts(
    model: Any,
    x: Any,
    layers: Layers,
    seen: Seen,
    figures: dict[str, Layer],
    curve: horizon.Curve | None,
    learned: _Learned | None,
) -> Facts:
    calls = {each.name: seen.calls[each.name] for each in layers.measured}
    needed = None if learned is None else learned.need
    compares = needed is not None and learned is not None and not learned.loss.crossentropy
    return Facts(
        layers=figures,
        settings={each.name: _setting(each, calls[each.name]) for each in layers.measured},
        steps=int(np.median([call.valid.sum(axis=1) for call in calls.values()])),
        horizon=None if curve is None else curve.horizon,
        need=None if needed is None else needed.steps,
        left=needed.left if needed is not None and compares else None,
        ratio=None if learned is None else learned.ratio,
        learning_rate=_learning_rate(model),
        nonfinite_input=not all(np.isfinite(part).all() for part in keras.tree.flatten(x)),
    )


def _check_seen(model: Any, layers: Layers, seen: Seen) -> None:
    for each in layers.measured:
        if each.name not in seen.calls:
            raise ValueError(
                f"Layer {each.name!r} is in model {model.name!r} and is not called by it; expected a layer that takes "
                "part. Name another one with layer."
            )
        steps = seen.calls[each.name].x.shape[1]
        if steps < 2:
            raise ValueError(
                f"Layer {each.name!r} reads sequences of {steps} step; expected at least 2. With one step there is "
                "nothing to remember: pass longer sequences."
            )
        if not seen.calls[each.name].valid.any(axis=1).all():
            raise ValueError(
                f"Layer {each.name!r} reads an example that is masked at every step; expected at least one valid step. "
                "Leave such examples out."
            )


def _check_differs(model: Any, outputs: Array, figures: dict[str, Layer], targets: Array | None) -> None:
    """A constant output is what a diagnosis can explain only where targets say that it should be none."""
    if not _constant(outputs) or (targets is not None and len(np.unique(targets, axis=0)) > 1):
        return
    name, worst = max(figures.items(), key=lambda item: max(item[1].dead, *item[1].saturation.values()))
    if worst.dead == 1:
        cause = f"All relu units of layer {name!r} are zero: train from new weights with a lower learning rate."
    elif max(worst.saturation.values()) > 0.9:
        cause = f"Layer {name!r} is saturated: scale its input, or train from new weights with a lower learning rate."
    else:
        cause = "Pass examples that differ, or look at the layers behind the recurrent ones."
    raise ValueError(
        f"The output of model {model.name!r} is the same for all {len(outputs)} examples, so nothing can be measured "
        f"against it; expected outputs that differ. {cause}"
    )


def _constant(outputs: Array) -> bool:
    if not np.isfinite(outputs).all():
        return False
    return bool(np.abs(outputs - outputs.mean(axis=0)).max() <= 4e-6 * np.abs(outputs).max())


def _figures(found: Found, call: Call, seed: int) -> Layer:
    reach = gradient.reach(call, seed)
    few = call.rows(slice(0, _INSIDE))
    inside = gates.inside(few)
    return Layer(
        kind=observe.kind(found),
        units=found.layer.units,
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
        first_nonfinite=first_nonfinite(found, call),
    )


def first_nonfinite(found: Found, call: Call) -> int | None:
    """The first step, as the input counts them, whose state the layer's own type cannot hold, or is no number."""
    y, _ = call.forward()
    most = _LARGEST[call.dtype]
    wrong = ((~np.isfinite(y) | (np.abs(y) > most)).any(axis=2) & call.valid).any(axis=0)
    if not wrong.any():
        return None
    step = int(np.argmax(wrong))
    return len(wrong) - 1 - step if found.layer.go_backwards else step


def _loss(model: Any, seen: Seen, targets: Array, valid: Array) -> Loss:
    if seen.shape is None:
        raise ValueError(f"Model {model.name!r} has several outputs; expected one where y is passed. Leave y out.")
    return Loss(model, _last_targets(targets, seen.shape, valid), seen.shape)


def _last_targets(targets: Array, shape: tuple[int, ...], valid: Array) -> Array:
    """Of targets that have every step, the last valid one."""
    if targets.ndim < 2 or targets.shape[:2] != valid.shape or targets.shape[1:] == shape:
        return targets
    last = valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)
    return targets[np.arange(len(targets)), last]


def _need(model: Any, x: Any, y: Any, layers: Layers) -> need.Need | None:
    """How far back the data asks, by the input of the first recurrent layer."""
    some, targets, _ = checks.sample(x, y, 0, most=need.MOST_EXAMPLES)
    seen = observe.run(model, some, observe.all_layers(model))
    call = seen.calls[layers.measured[0].name]
    assert targets is not None
    assert seen.shape is not None
    return need.of(
        call.x, Loss(model, _last_targets(targets, seen.shape, call.valid), seen.shape).numbers(), call.valid
    )


def _setting(found: Found, call: Call) -> Setting:
    few, fresh, better = call.rows(slice(0, _INSIDE)), None, None
    if not CELLS[found.cell].gated and np.isfinite(few.x[few.valid]).all():
        fresh = gradient.reach(_afresh(found, few)).exponent
        better = initializers.orthogonal_on_batch(
            few.x, found.layer.units, str(call.options.activation), mask=few.valid
        )
    return Setting(
        activation=str(call.options.activation),
        truncate=getattr(found.layer, "truncate_gradient", None),
        drive=gates.drive(call),
        fresh=fresh,
        initializer=better,
    )


def _afresh(found: Found, call: Call) -> Call:
    """The layer as its initializers make it, each with a seed of its own, the same every time."""
    cell = found.layer.cell
    kernel, recurrent, bias = call.weights
    fresh = [
        _drawn(getattr(cell, f"{name}_initializer"), weight.shape, seed)
        for seed, (name, weight) in enumerate((("kernel", kernel), ("recurrent", recurrent)))
    ]
    return call._replace(weights=(fresh[0], fresh[1], None if bias is None else np.zeros_like(bias)))


def _drawn(initializer: Any, shape: tuple[int, ...], seed: int) -> Array:
    config = initializer.get_config()
    if "seed" in config:
        initializer = type(initializer).from_config(config | {"seed": seed})
    return np.asarray(keras.ops.convert_to_numpy(initializer(shape, "float32")), "float64")


def _learning_rate(model: Any) -> tuple[float, float] | None:
    """That of the model's optimizer, and the default of its class."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    default = inspect.signature(type(optimizer).__init__).parameters.get("learning_rate")
    if default is None or not isinstance(default.default, float):
        return None
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate)), default.default


def _notes(model: Any, layers: Layers, layer: str | None, seen: Seen, *, nonfinite_input: bool) -> list[str]:
    notes = []
    if nonfinite_input and np.isfinite(seen.outputs).all():
        notes.append("The input has infinities, which the activations end: look at the data.")
    if _constant(seen.outputs):
        notes.append("The output is the same for all examples.")
    if layers.backward:
        names = ", ".join(repr(each.name) for each in layers.backward)
        notes.append(f"Of a Bidirectional the forward half alone is measured and reset, not {names}.")
    if layer is not None and len(layers.measured) < len(observe.find(model)[0]):
        notes.append(f"Only layer {layer!r} is measured and reset; the others keep their states.")
    for name, times in seen.times.items():
        if times > 1:
            notes.append(f"Layer {name!r} is called {times} times; its figures are of the first call.")
    for each in layers.measured:
        cut = getattr(each.layer, "truncate_gradient", None)
        if cut is not None:
            notes.append(f"Layer {each.name!r} is trained with truncate_gradient={cut}; reach is measured without it.")
    return notes
