# SPDX-License-Identifier: Apache-2.0
"""Writes the measured tables and figures of the pages from evidence/, so that no page differs from what was measured.

In: `evidence/*.json`, as `make evaluate` writes them, and pages with lines `<!-- measured: NAME -->` and
`<!-- end -->`. Out: the same pages with the text between those two lines written again. `python docs/tables.py`
writes; `tests/test_tables.py` compares. Nothing is measured here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/memory.md", "docs/ship.md", "docs/speed.md", "docs/torch.md")
BLOCK = re.compile(r"(?<=<!-- measured: )([a-z-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
CELLS = {"simple_rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
BOTH = "forward_backward"
TRAINED = {  # the subjects of `elman bench --train` that the page shows
    "Network": "`elman.Network.fit`",
    "elman in keras on tensorflow": "elman's layer in Keras on TensorFlow",
    "keras on tensorflow": "Keras on TensorFlow",
    "keras on tensorflow, jit": "Keras on TensorFlow, `jit_compile`",
    "elman in keras on jax": "elman's layer in Keras on JAX",
    "keras on jax": "Keras on JAX",
    "loop in jax": "a loop in JAX, `jit` and `lax.scan`",
    "elman in keras on torch": "elman's layer in Keras on PyTorch",
    "keras on torch": "Keras on PyTorch",
    "loop in torch": "a loop over `torch.nn.RNN`",
}
# Figures of TFLite Micro on a NUCLEO-L4R5ZI (Cortex-M4F, 120 MHz) in EdgeMark, arXiv 2502.01700: flash and RAM in kB.
EDGEMARK = {
    ("SimpleRNN", "float"): (218.7, 112.6),
    ("SimpleRNN", "int8"): (590.8, 103.3),
    ("GRU", "float"): (497, 299),
    ("LSTM", "float"): (473, 269),
}

Row = Mapping[str, Any]


@cache
def evidence(name: str) -> Any:
    """What the step of that name found."""
    result = json.loads((ROOT / "evidence" / f"{name}.json").read_text())["result"]
    return next(found for key, found in result.items() if key != "failed")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells as Markdown."""
    head, *lines = [f"| {' | '.join(cells)} |\n" for cells in (head, *rows)]
    return "".join([head, f"|{'---|' * (head.count('|') - 1)}\n", *lines])


def seconds(value: float) -> str:
    """Three significant digits with a unit."""
    unit, scale = next((unit, scale) for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)) if value * scale >= 1)
    return f"{value * scale:.3g} {unit}"


def rows(cell: str, which: str) -> list[Row]:
    """The measured shapes of one pass."""
    return [row for row in evidence(f"bench_{cell}")["rows"] if row["pass"] == which]


def median(row: Row, subject: str) -> float:
    """A subject's seconds for one call."""
    return row["times"][subject]["median_s"]


def ratios(cell: str, subject: str, *peers: str) -> list[float]:
    """The fastest of `peers` over `subject`, shape by shape."""
    return [min(median(row, peer) for peer in peers) / median(row, subject) for row in rows(cell, BOTH)]


def bench_times() -> str:
    """Times of forward and backward, by shape and cell."""
    head = ["batch x time x features x units"]
    for name in CELLS.values():
        head += [name, "other", "ratio"]
    lines = []
    for same_shape in zip(*(rows(cell, BOTH) for cell in CELLS), strict=True):
        line = [_shape(same_shape[0])]
        for row in same_shape:
            line += [seconds(median(row, row[fastest])) for fastest in ("fastest_elman", "fastest_peer")]
            line.append(f"{row['ratio']:.1f}")
        lines.append(line)
    return table(head, lines)


def bench_ratios() -> str:
    """Geometric means over the shapes."""
    comparisons: dict[str, Callable[[str], list[float]]] = {
        "against the fastest of all": lambda cell: [row["ratio"] for row in rows(cell, BOTH)],
        "Keras on PyTorch, elman on PyTorch": lambda cell: ratios(cell, "elman on torch", "keras on torch"),
        "Keras on JAX, elman on JAX": lambda cell: ratios(cell, "elman on jax", "keras on jax"),
        "Keras on TensorFlow, elman on TensorFlow": lambda cell: ratios(
            cell, "elman on tensorflow", "keras on tensorflow"
        ),
        "Keras on TensorFlow with `jit_compile` where that is faster, elman on TensorFlow without": lambda cell: ratios(
            cell, "elman on tensorflow", "keras on tensorflow", "keras on tensorflow, jit"
        ),
    }
    means = {text: [float(np.exp(np.log(of(cell)).mean())) for cell in CELLS] for text, of in comparisons.items()}
    lines = [
        [text, *(f"{mean:.1f}" if mean < 10 else f"{mean:.0f}" for mean in found)] for text, found in means.items()
    ]
    return table(["geometric mean of the ratios", *CELLS.values()], lines)


def bench_peak() -> str:
    """How much of the machine the SimpleRNN uses, and what one step costs."""
    shares = {
        which: [100 * row["share"] for row in rows("simple_rnn", which) if row["shape"]["units"] >= 128]
        for which in ("forward", BOTH)
    }
    forward, both = (f"{min(found):.0f} to {max(found):.0f} %" for found in shares.values())
    step = evidence("bench_simple_rnn")["one_step"]["median_us"]
    return (
        f"With 128 units or more and 32 rows or more, the SimpleRNN's forward reaches {forward} of the peak\n"
        f"multiply-add rate of the two cores, forward and backward {both}. One step of one row on NumPy takes\n"
        f"{step:.1f} us, most of it in Python.\n"
    )


def bench_train() -> str:
    """Times of a step and of an epoch of training, and how many times the Network's they are."""
    first, *others = evidence("bench_train")["rows"]
    lines = [
        [
            text,
            seconds(first["times"]["step"][name]["median_s"]),
            seconds(first["times"]["epoch"][name]["median_s"]),
            f"{first['over_network']['epoch'][name]:.1f}",
        ]
        for name, text in TRAINED.items()
    ]
    bare = [f"{row['step_over_bare']:.2f} at {_shape(row)}" for row in (first, *others)]
    head = [f"{_shape(first)}, {first['steps']} steps", "step", "epoch", "epoch over `Network.fit`"]
    times = f"A step of the network takes {' and '.join(bare)} times\n"
    return f"{table(head, lines)}\n{times}the native forward and backward of its recurrence.\n"


def _shape(row: Row) -> str:
    return " x ".join(str(size) for size in row["shape"].values())


def operands() -> str:
    """What masks and dropout cost a native call, and what `import elman` costs."""
    shapes = evidence("operands")["ratios"].values()
    most = max(ratio for shape in shapes for found in shape.values() for ratio in found.values())
    milliseconds = 1000 * evidence("import_time")["seconds_beyond_numpy"]
    return (
        f"A mask, left padding or dropout masks make a native call at most {100 * (most - 1):.0f} % slower\n"
        "([evidence](../evidence/operands.json)).\n"
        f"`import elman` takes {milliseconds:.0f} ms more than `import numpy`\n"
        "([evidence](../evidence/import_time.json)).\n"
    )


def diagnosis() -> str:
    """How often the diagnosis and its advice are right."""
    advice, trained = evidence("diagnose_advice_jax"), evidence("diagnose_trained_jax")
    return (
        f"On {advice['of']} set-ups that each fail for one reason, the first suggestion solves the task on "
        f"{advice['working']}\n([evidence](../evidence/diagnose_advice_jax.json)). On {trained['decided']} networks "
        f"trained on tasks of known lag, the verdict is\nright for {trained['right']} "
        "([evidence](../evidence/diagnose_trained_jax.json)).\n"
    )


def stream_times() -> str:
    """Times of a step of a stream and of its peers."""
    found = evidence("stream")
    lines = [
        [
            name,
            *(f"{each[key]:,.3g}" if each[key] < 1000 else f"{each[key]:,.0f}" for key in ("median_us", "least_us")),
            f"{found['over_stream'][name]:,.1f}",
            f"{found['least_over_stream'][name]:,.1f}",
        ]
        for name, each in found["times"].items()
    ]
    single, loop = found["single"], ", ".join(f"{name} {us:.2f}" for name, us in found["loop_us"].items())
    return (
        f"{table(['one row', 'median, us', 'least, us', 'median over', 'least over `Stream.step`'], lines)}\n"
        f"Of {single['steps']:,} single steps the median took {single['median_us']:.2f} us and the 99.9th percentile\n"
        f"{single['p999_us']:.2f} us. In a loop inside the library a step of 32 units takes, in us: {loop}.\n"
        f"Other processes used {found['busy_cpus']:.1f} CPUs of the machine at that time\n"
        "([evidence](../evidence/stream.json)).\n"
    )


def c_header() -> str:
    """Sizes of the C headers next to published ones."""
    lines = []
    for row in evidence("c_header")["rows"]:
        theirs = EDGEMARK.get((row["cell"], row["weights"]))
        lines.append(
            [
                f"{row['cell']}, {row['parameters']:,} parameters",
                row["weights"],
                f"{(row['text'] + row['data']) / 1000:.1f}",
                f"{(row['data'] + row['bss']) / 1000:.2f}",
                f"{row['instructions']:,}",
                f"{row['int8_error'] or row['error']:.1g}",
                *(("-", "-") if theirs is None else map(str, theirs)),
            ]
        )
    head = ["network", "weights", "flash, kB", "RAM, kB", "instructions of a row", "largest error"]
    return table([*head, "TFLite Micro: flash, kB", "RAM, kB"], lines)


def torch_programs() -> str:
    """Programs of others, stock and patched."""
    found = evidence("torch_programs")
    lines = [
        [row["part"], seconds(row["stock_s"]), seconds(row["elman_s"]), f"{row['ratio']:.2f}", f"{row['error']:.0e}"]
        for row in found["rows"]
    ]
    head = ["program", "torch.nn", "elman.patch()", "ratio", "largest difference"]
    return table(head, lines)


def torch_layers() -> str:
    """Geometric means of the ratios to torch.nn."""
    means = evidence("torch_layers")["means"]
    names = {"ratio": "padded", "ratio_packed": "packed"}
    lines = []
    for name, text in names.items():
        least = min(of_cell[f"{name}_least"] for of_cell in means.values())
        lines.append([text, *(f"{of_cell[name]:.1f}" for of_cell in means.values()), f"{least:.2f}"])
    resets = ", ".join(f"{cell} {of_cell['resets_over_none']:.2f}" for cell, of_cell in means.items())
    return (
        f"{table(['torch.nn over elman', *means, 'least of all'], lines)}\n"
        f"With one reset in 100 steps a call takes this many times what it takes without: {resets}.\n"
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "bench-times": bench_times,
    "bench-ratios": bench_ratios,
    "bench-peak": bench_peak,
    "bench-train": bench_train,
    "operands": operands,
    "diagnosis": diagnosis,
    "stream-times": stream_times,
    "c-header": c_header,
    "torch-layers": torch_layers,
    "torch-programs": torch_programs,
}


def written(page: str) -> str:
    """The page with every block as the evidence has it."""
    return BLOCK.sub(lambda block: f"{block[1]}{block[2]}{BLOCKS[block[1]]()}", page)


if __name__ == "__main__":
    for name in PAGES:
        path = ROOT / name
        path.write_text(written(path.read_text()))
