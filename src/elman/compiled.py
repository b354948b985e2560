# SPDX-License-Identifier: Apache-2.0
"""Compiles a loaded model with the settings in its file: loss, metrics, and the optimizer with its variables.

In: a model that is not compiled, and the settings from its file. The file is of Keras 2, or an HDF5 file of Keras 3,
whose settings Keras 3 cannot read itself. Out: the same model compiled, and sentences about what was not restored.
Files are read in `loading`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from elman.keras_2 import is_record

Array = np.ndarray

_WITHOUT_EFFECT = ("is_legacy_optimizer", "jit_compile")  # on what an optimizer computes
_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")  # losses and metrics that Keras chooses by the output's shape


class Saved(NamedTuple):
    """The training settings in a file.

    Attributes:
        settings: The arguments of `compile`, as parsed from JSON.
        variables: The optimizer's variables in the file's order, each with its name, which may be empty.
    """

    settings: dict[str, Any]
    variables: list[tuple[str, Array]]


def restore(model: Any, saved: Saved, custom_objects: dict[str, Any], safe_mode: bool) -> str:
    """Compiles a model with the settings in its file, and assigns the optimizer's variables.

    Args:
        model: A built model that is not compiled.
        saved: The training settings in its file.
        custom_objects: As `load_model` takes them.
        safe_mode: As `load_model` takes it.

    Returns:
        Sentences about what was not restored; empty if everything was.
    """
    objects = _Objects(custom_objects, safe_mode)
    try:
        with keras.saving.custom_object_scope(custom_objects):
            model.compile(**objects.arguments(saved.settings, getattr(model, "output_names", None) or []))
    except (TypeError, ValueError) as error:  # a class or argument that Keras 3 lacks, or an unknown class of the user
        (reason, *_) = str(error).splitlines() or [type(error).__name__]
        return (
            f"the model is not compiled: {reason.rstrip('.')}. Compile it again before you train or evaluate it, for "
            "example model.compile('adam', 'mse'); classes and functions of your own go into custom_objects."
        )
    if not saved.variables or _assigned(model, saved.variables):
        return ""
    return (
        f"the optimizer {type(model.optimizer).__name__} starts with new variables, as those in the file do not fit "
        "it. The weights are those of the file; the first steps of further training differ."
    )


# --- objects -------------------------------------------------------------------------------------------------------


class _Objects:
    """Makes losses, metrics and optimizers from their configs in a file of Keras 2 or an HDF5 file of Keras 3."""

    def __init__(self, custom_objects: dict[str, Any], safe_mode: bool) -> None:
        self._custom_objects, self._safe_mode = custom_objects, safe_mode

    def arguments(self, settings: dict[str, Any], outputs: list[str]) -> dict[str, Any]:
        """The arguments of `compile`."""
        made = _set(settings)
        made["optimizer"] = self._optimizer(made["optimizer"])
        if "loss" in made:
            made["loss"] = _nested(made["loss"], self._loss)
        for key in ("metrics", "weighted_metrics"):
            if key in made:
                made[key] = _of_outputs(_nested(made[key], self._metric), outputs)
        return made

    def _own(self, record: dict[str, Any]) -> Any:
        """An object of the user's own class, or the user's own function."""
        return keras.saving.deserialize_keras_object(
            record, custom_objects=self._custom_objects, safe_mode=self._safe_mode
        )

    def _kind(self, record: dict[str, Any], package: Any, base: type) -> type[Any] | None:
        """The class of Keras that a record names; `None` if the class is the user's own."""
        name = record["class_name"]
        registered = record.get("registered_name") or name
        if keras.saving.get_registered_object(registered, custom_objects=self._custom_objects) is not None:
            return None
        kind = getattr(package, name.rpartition(">")[2], None)  # Keras 2 registered its optimizers as Custom>NAME
        return kind if isinstance(kind, type) and issubclass(kind, base) else None

    def _optimizer(self, value: Any) -> Any:
        kind = self._kind(value, keras.optimizers, keras.optimizers.Optimizer) if is_record(value) else None
        if kind is None:
            return self._own(value) if is_record(value) else keras.optimizers.get(value)
        config = {k: v for k, v in _set(value["config"]).items() if k not in _WITHOUT_EFFECT}
        if "lr" in config:  # its name before Keras 2.3
            config["learning_rate"] = config.pop("lr")
        rate: Any = config.get("learning_rate")
        if is_record(rate):
            rate = rate | {"config": _set(rate["config"])}
            config["learning_rate"] = keras.optimizers.schedules.deserialize(rate, custom_objects=self._custom_objects)
        if decay := config.pop("decay", 0):  # of the optimizers before Keras 2.11
            config["learning_rate"] = keras.optimizers.schedules.InverseTimeDecay(config["learning_rate"], 1, decay)
        return kind(**config)

    def _loss(self, value: Any) -> Any:
        if not is_record(value):
            return self._named(value, keras.losses)
        kind = self._kind(value, keras.losses, keras.losses.Loss)
        if kind is None:
            return self._own(value)
        config = {key: v for key, v in value["config"].items() if key != "fn"}  # the class determines the function
        if config.get("reduction") == "auto":
            config["reduction"] = "sum_over_batch_size"
        return kind(**config)

    def _metric(self, value: Any) -> Any:
        if not is_record(value):
            return self._named(value, keras.metrics)
        kind = self._kind(value, keras.metrics, keras.metrics.Metric)
        if kind is None:
            return self._own(value)
        config = dict(value["config"])
        if kind is not keras.metrics.MeanMetricWrapper:
            return kind.from_config(config)
        function = self._function(config.pop("fn"))
        if isinstance(function, keras.metrics.Metric):  # most names are those of a metric's class
            return type(function)(**config)
        return kind(function, **config)

    def _named(self, name: str, package: Any) -> Any:
        """The user's own loss or metric of that name; or the name itself, after a check that Keras knows it."""
        if name in self._custom_objects:
            return self._custom_objects[name]
        if name not in _BY_SHAPE:
            package.get(name)  # raises now; compile looks it up only in the first step of training
        return name

    def _function(self, value: Any) -> Any:
        """The function, or metric, that a `MeanMetricWrapper` averages."""
        if is_record(value):
            return self._own(value)
        return self._custom_objects.get(value) or keras.metrics.get(value)


def _set(config: dict[str, Any]) -> dict[str, Any]:
    """A config without its nulls: Keras 2 writes null for an argument's default, and Keras 3 refuses some of these."""
    return {key: value for key, value in config.items() if value is not None}


def _nested(value: Any, make: Callable[[Any], Any]) -> Any:
    """Makes each object in lists and dictionaries."""
    if isinstance(value, list):
        return [_nested(item, make) for item in value if item is not None]
    if isinstance(value, dict) and not is_record(value):
        return {key: _nested(item, make) for key, item in value.items()}
    return make(value)


def _of_outputs(metrics: Any, outputs: list[str]) -> Any:
    """Metrics in the form that Keras 3 takes.

    An HDF5 file of Keras 2 has a list for each output, even if there is only one. If there are several, each metric's
    name starts with that of its output. Keras 3 adds the output's name itself.
    """
    if not isinstance(metrics, list) or not all(isinstance(item, list) for item in metrics):
        return metrics
    if len(metrics) == 1:
        return metrics[0]
    for output, of_output in zip(outputs, metrics, strict=False):
        for metric in of_output:
            if isinstance(metric, keras.metrics.Metric):
                metric.name = metric.name.removeprefix(f"{output}_")
    return metrics


# --- the optimizer's variables -------------------------------------------------------------------------------------


def _assigned(model: Any, saved: list[tuple[str, Array]]) -> bool:
    """Assigns the optimizer's variables, and returns whether they fit.

    Keras 3 and Keras 2 since 2.11 write them in the same order, but Keras 2 leaves out the learning rate, which is in
    the config. Optimizers before 2.11 wrote all variables of one kind, such as momentum, before those of the next.
    """
    if [value.tolist() for _, value in saved] == [0]:  # only the number of steps: it was saved before the first one
        return True
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    values = [value for name, value in saved if not _last(name).startswith("learning_rate")]
    variables = [v for v in optimizer.variables if not v.path.endswith("/learning_rate")]
    if saved[0][0].partition(":")[0].endswith("/iter"):
        variables = [variables[0], *_by_kind(variables[1:], model.trainable_variables)]
    if [tuple(v.shape) for v in variables] != [value.shape for value in values]:
        return False
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return True


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _by_kind(slots: list[Any], trainable: list[Any]) -> list[Any]:
    """Sorts an optimizer's variables by their kind, such as momentum, instead of by the model's variables."""
    kinds: dict[str, list[Any]] = {}
    for slot in slots:
        prefixes = [prefix for v in trainable if slot.name.startswith(prefix := v.path.replace("/", "_") + "_")]
        kinds.setdefault(slot.name.removeprefix(max(prefixes, key=len, default="")), []).append(slot)
    return [slot for of_kind in kinds.values() for slot in of_kind]
