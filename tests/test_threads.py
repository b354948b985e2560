# SPDX-License-Identifier: Apache-2.0
"""Threads that use elman at once, from its import on: Python without the GIL must not tear what they share."""

import subprocess
import sys
import sysconfig

# In a new process nothing is open or cached yet, so that the first calls of all threads meet. The interpreter switches
# threads as often as it can; without the GIL they run at once.
PROGRAM = """
import sys, threading
import numpy as np
THREADS, ROUNDS = 8, 5
sys.setswitchinterval(1e-6)
barrier, results, errors = threading.Barrier(THREADS), {}, []

def work(number):
    try:
        barrier.wait()
        import elman
        rng = np.random.default_rng(number % 4)  # two threads at the same problem, and all at the same caches
        batch, time, features, units = 3 + number % 4, 11, 2, 9
        x = rng.normal(size=(batch, time, features)).astype(np.float32)
        for cell, gates in (("simple_rnn", 1), ("lstm", 4), ("gru", 3)):
            kernel = rng.normal(size=(features, gates * units)).astype(np.float32)
            recurrent = rng.normal(size=(units, gates * units)).astype(np.float32) / 9
            for round in range(ROUNDS):
                y = getattr(elman, cell)(x, kernel, recurrent)
                y = y[0] if isinstance(y, tuple) else y
                results.setdefault((number % 4, cell), set()).add(y.tobytes())
                elman.set_num_threads(1 + (number + round) % 3)
    except BaseException as error:
        errors.append(repr(error))

threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not errors, errors
assert len(results) == 12 and all(len(each) == 1 for each in results.values()), {k: len(v) for k, v in results.items()}
import elman
assert elman._native.reason() is None, elman._native.reason()
print("free-threaded" if not getattr(sys, "_is_gil_enabled", lambda: True)() else "with the GIL")
"""


def test_the_first_calls_of_eight_threads_give_the_same_bits():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert done.stdout.strip() == "free-threaded", "an import of elman switched the GIL on"


# A second native stream would take the place of the first while another thread is in it.
FIRST_STEPS = """
import sys, threading
import numpy as np
from elman.network import LSTM, Dense, Network
from elman.stream import stream as streams
THREADS = 8
sys.setswitchinterval(1e-6)
network = Network([LSTM(8), Dense(2)], input_shape=(None, 3))
native, made = streams.native_stream, []
streams.native_stream = lambda *given: made.append(given) or native(*given)
row, errors = np.ones(3, np.float32), []
for round in range(20):
    stream, barrier = streams.Stream(network), threading.Barrier(THREADS)

    def work():
        try:
            barrier.wait()
            stream.step(row)
        except BaseException as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
assert not errors, errors
assert len(made) == 20, f"{len(made)} native streams for 20"
"""


def test_a_stream_that_eight_threads_begin_at_once_begins_once():
    done = subprocess.run([sys.executable, "-c", FIRST_STEPS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
