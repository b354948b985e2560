# SPDX-License-Identifier: Apache-2.0
"""Builds the wheels of every platform on this machine, with Zig's compiler.

In: platform tags; without any, all. Out: dist/elman-<version>-py3-none-<tag>.whl, one per tag. It checks nothing:
check_wheels.py does. Object files stay in build/wheels, so that a second run compiles what changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import elman_build
import sbom

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "wheels"
DIST = ROOT / "dist"
# The tag of a wheel, and Zig's name of the target whose library is in it; `any` has none.
TARGETS = {
    "manylinux_2_17_x86_64.manylinux2014_x86_64": "x86_64-linux-gnu.2.17",
    "musllinux_1_1_x86_64": "x86_64-linux-musl",
    "macosx_10_13_x86_64": "x86_64-macos.10.13",
    "win_amd64": "x86_64-windows-gnu",
    "manylinux_2_17_aarch64.manylinux2014_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_1_aarch64": "aarch64-linux-musl",
    "macosx_11_0_arm64": "aarch64-macos.11.0",
    "win_arm64": "aarch64-windows-gnu",
    "any": None,
}


def run(command: list[str], log: Path, **environment: str) -> str:
    """The output of a command that must not fail; its lines are in `log` as well."""
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"`{' '.join(command[:5])} ...` ended with status {done.returncode}; its lines are in {log}.")
    return done.stdout


def make(tag: str) -> Path:
    """Builds the wheel of a tag and returns its path."""
    folder = BUILD / tag
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    target = TARGETS[tag]
    if target is None:
        run([*pip, "."], folder / "build.log", ELMAN_NATIVE="0")
    else:
        settings = {"build-dir": str(folder / "cmake")} | elman_build.zig_settings(target)
        options = [option for name, value in settings.items() for option in ("--config-settings", f"{name}={value}")]
        # One compiler per wheel, and one wheel per CPU at a time.
        one = {"CMAKE_BUILD_PARALLEL_LEVEL": "1", "ZIG_GLOBAL_CACHE_DIR": str(BUILD / "zig")}
        run([*pip, *options, "."], folder / "build.log", **one)
    (built,) = folder.glob("*.whl")
    tagged = [sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag, str(built)]
    name = run(tagged, folder / "tag.log").split()[-1]
    sbom.add(folder / name, target)
    return (folder / name).replace(DIST / name)


def main(tags: list[str]) -> int:
    """Builds the wheels and prints their names and sizes."""
    if unknown := set(tags) - set(TARGETS):
        raise SystemExit(f"{', '.join(unknown)} is not a platform; expected some of {', '.join(TARGETS)}.")
    DIST.mkdir(exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path in pool.map(make, tags or TARGETS):
            print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 2**20:.2f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
