# SPDX-License-Identifier: Apache-2.0
# A fresh clone needs Python 3.11 or later and make; for development GCC or Clang too. `make help` lists the targets.

# make demo needs no framework; with BACKEND=... it shows the layer in that one as well.
DEMO_BACKEND := $(BACKEND)
BACKEND ?= tensorflow
ifneq ($(filter-out tensorflow jax torch,$(BACKEND)),)
$(error BACKEND is "$(BACKEND)"; expected tensorflow, jax or torch)
endif
BACKENDS ?= jax tensorflow torch
ifneq ($(filter-out tensorflow jax torch,$(BACKENDS)),)
$(error BACKENDS is "$(BACKENDS)"; expected some of jax, tensorflow, torch)
endif

# The versions that are tested. Warnings are errors in the tests, so a newer framework is a deliberate change.
tensorflow := tensorflow-cpu==2.21.0 keras==3.15.1
jax := jax==0.10.2 keras==3.15.1
torch := torch==2.13.0 keras==3.15.1
onnx := onnx==1.23.2 onnxruntime==1.32.0
tensorflow_files := tf2onnx==1.17.0 $(onnx)
torch_files := onnxscript==0.7.2 $(onnx)
wheels := ziglang==0.17.1 scikit-build-core cmake ninja wheel auditwheel lief cyclonedx-python-lib

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/done
NATIVE := $(shell find native packaging -type f ! -name '*.pyc') CMakeLists.txt pyproject.toml
SOURCES := $(shell find src -type f ! -name '*.so' ! -name '*.pyc') $(NATIVE)

# What `make lint` and `make notebook` run in: whatever is installed, else an editable install.
INSTALLED := $(firstword $(wildcard $(DONE)/elman $(DONE)/develop) $(DONE)/develop)
PIP := $(BIN)/pip install --quiet

COMPILING := echo "Installing elman; its native library is compiled from C++, which takes a minute, or a few where no compiler is and Zig is downloaded ..."

# Jupyter asks for the kernel of a notebook that does not name one.
KERNEL := {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

# Sanitizers run where their runtime can be preloaded into Python.
SANITIZERS := $(if $(filter Linux,$(shell uname)),address thread)

# The second compiler of the tests: the first of these names that is Clang 14 or later.
CLANG ?= $(shell for clang in clang++ $$(seq -f 'clang++-%g' 30 -1 14); do command -v $$clang >/dev/null && \
	$$clang -dM -E -x c++ /dev/null | awk '/__clang_major__/ { exit ($$3 < 14) }' && echo $$clang && break; done)
OTHERS = $(SANITIZERS) $(if $(CLANG),clang) zig

.NOTPARALLEL:
.PHONY: help demo develop check test lint format sanitize evaluate wheels docs notebook clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO_BACKEND:%=$(DONE)/%) $(DONE)/demo ## Fit a recording that ships, from nothing. BACKEND=jax, tensorflow or torch for a layer in Keras, too.
	@$(BIN)/elman fit --data walk --out build/demo --fresh
	@$(if $(DEMO_BACKEND),echo && KERAS_BACKEND=$(DEMO_BACKEND) $(BIN)/python benchmarks/tutorial.py)
	@echo && echo "To use the elman command in this shell, type next:  . $(BIN)/activate"

develop: $(DONE)/develop ## An editable install with the tools and the commit hooks. BACKEND=jax or torch for another.
	@echo "Ready. Next:  . $(BIN)/activate && pytest"

check: $(DONE)/develop ## Format, lint, types, and the tests of what changed since the last commit. BASE=main for a branch.
	@$(BIN)/python tests/run.py lint & $(BIN)/python tests/changed.py $(BASE); tests=$$?; wait $$! && exit $$tests

test: $(DONE)/elman ## Everything that CI runs, from nothing. BACKENDS=jax for one framework, WHEEL=PATH for that wheel.
	@ELMAN_TEST_SIZE=medium $(BIN)/python tests/run.py $(BACKENDS) numpy isa lint

lint: $(INSTALLED) ## Formatters, linter and type checker.
	@$(BIN)/python tests/run.py lint

format: $(INSTALLED) ## Format, and fix what the linter can fix.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i native/*.h native/*.cc tests/*.cc

sanitize: $(DONE)/elman $(SANITIZERS:%=build/%/done) ## Kernel tests under GCC's address, undefined and thread sanitizers.
	@ELMAN_TEST_SIZE=medium $(BIN)/python tests/run.py $(SANITIZERS)

wheels: $(DONE)/wheels ## dist/ with a wheel for every platform, built on this one by Zig's compiler and checked.
	@rm -rf dist
	@$(BIN)/python packaging/make_wheels.py
	@$(BIN)/python packaging/check_wheels.py dist/*.whl

evaluate: $(DONE)/evaluate $(OTHERS:%=build/%/done) ## The long counts and every figure, into evidence/; goes on where it stopped.
	@$(BIN)/python tests/evaluate.py numpy isa $(OTHERS) $(BACKENDS)
	@$(if $(CLANG),:,echo "The suite with Clang's library was not run: clang++ 14 or later is not installed.")

docs: $(DONE)/docs ## The site of all pages in build/site; a broken link or a missing reference is an error.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The site is in build/site. Open build/site/index.html."

notebook: $(INSTALLED) ## docs/guide.md as a notebook, build/guide.ipynb.
	@mkdir -p build
	$(BIN)/jupytext --to ipynb --update-metadata '$(KERNEL)' --output build/guide.ipynb docs/guide.md
	cp -R docs/figures build

clean: ## Back to a fresh clone; evidence stays.
	rm -rf $(VENV) build dist .cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(DONE)/venv:
	@test -n "$(PYTHON)" || { echo "make needs Python 3.11 or later and found none. Install it, or set PYTHON=/path/to/python3." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(DONE) && touch $@

# PyTorch first and by itself, so that no other package decides which build of it is installed.
$(DONE)/torch: Makefile $(DONE)/venv
	@echo "Installing $(torch) ..."
	@$(PIP) $(firstword $(torch))
	@$(PIP) $(torch)
	@touch $@

$(DONE)/tensorflow $(DONE)/jax: $(DONE)/%: Makefile $(DONE)/venv
	@echo "Installing $($*) ..."
	@$(PIP) $($*)
	@touch $@

# A wheel as users get it, not an editable install: built from the sources, or the one that WHEEL names. build/ keeps the
# object files.
$(DONE)/elman: $(SOURCES) $(WHEEL) | $(BACKENDS:%=$(DONE)/%)
	@$(if $(WHEEL),echo "Installing $(WHEEL) ...",$(COMPILING))
	@$(if $(WHEEL),$(BIN)/pip uninstall --quiet --yes elman) # pip keeps what has the same version
	@$(PIP) --config-settings cmake.define.CMAKE_COMPILE_WARNING_AS_ERROR=ON "$(or $(WHEEL),.)[dev]" $(sort $(foreach backend,$(BACKENDS),$($(backend)_files)))
	@rm -f $(DONE)/develop && touch $@ $(DONE)/demo

# The sources stay in src/, so only a change of the library or of the requirements installs again.
$(DONE)/develop: $(NATIVE) | $(DONE)/$(BACKEND)
	@$(COMPILING)
	@$(PIP) --config-settings cmake.define.CMAKE_COMPILE_WARNING_AS_ERROR=ON --editable ".[dev]"
	@! test -e .git || $(BIN)/pre-commit install
	@rm -f $(DONE)/elman $(DONE)/demo && touch $@

# The same for the demo, without the tools that check.
$(DONE)/demo: $(SOURCES) $(DONE)/venv
	@$(COMPILING)
	@$(PIP) ".[cli]"
	@rm -f $(DONE)/develop && touch $@

$(DONE)/evaluate: $(DONE)/elman $(DONE)/wheels
	@$(PIP) ".[evaluate]"
	@touch $@

# The site is made of the sources as they are: elman itself is not installed for it.
$(DONE)/docs: pyproject.toml | $(DONE)/venv
	@echo "Installing Material for MkDocs ..."
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' | \
		$(PIP) --requirement /dev/stdin
	@touch $@

# What builds and reads wheels, without elman.
$(DONE)/wheels: Makefile | $(DONE)/venv
	@$(PIP) $(wheels)
	@touch $@

# Other builds of the library: under sanitizers, and by another compiler.
build/address/done: SETTINGS = -DELMAN_SANITIZE=address,undefined
build/thread/done: SETTINGS = -DELMAN_SANITIZE=thread
build/clang/done: SETTINGS = -DCMAKE_CXX_COMPILER=$(CLANG)
build/zig/done: SETTINGS = $$($(BIN)/python packaging/elman_build.py)
build/zig/done: $(DONE)/wheels
build/%/done: $(SOURCES) | $(DONE)/elman
	$(BIN)/cmake -S . -B build/$* $(SETTINGS)
	$(BIN)/cmake --build build/$* --parallel
	mkdir -p build/$*/site && cp -R src/elman build/$*/site
	$(BIN)/cmake --install build/$* --prefix build/$*/site
	@touch $@
