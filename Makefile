# People and CI say the same words. `make demo` and `make test` need Python 3.11 or newer, and nothing installed before.
#
#   make demo       real speech -> prepared corpus -> a few training steps -> held-out speech through the shipped weights
#   make test       the fast tests          make test-all   every test        (P=rnnms: one package only; P=tests: what spans them)
#   make check      lint, format, types, import contracts, package metadata, versions
#   make oracles    install what only some tests compare with (neural scores, the public RNN_MS): 0.5 GB
#   make wheels     build every package, install the wheels alone, run each package's tests against them
#   make bench      speed beside other projects' vocoders, where they are installed     (P=rnnms: one package only)
#   make clean      back to the state of a fresh clone
#
#   PYTHON=python3.12   the interpreter to start from       TORCH=torch   the newest torch (with CUDA) instead of this one
PYTHON ?= python3
TORCH ?= torch==2.13.0
JOBS ?= 2
P ?=

BIN := .venv/bin
READY := .venv/ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
POETRY ?= .venv/poetry/bin/poetry
PACKAGES := $(patsubst packages/%/pyproject.toml,%,$(wildcard packages/*/pyproject.toml))
BENCHES := $(patsubst tools/bench_%.py,%,$(wildcard tools/bench_*.py))
TESTS := $(if $(P),$(or $(wildcard packages/$(P)),$(P)))
export POETRY_VIRTUALENVS_CREATE := false
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.PHONY: demo test test-all check oracles wheels bench clean setup
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/python tools/demo.py

test: $(READY)
	$(PYTEST) -m "not slow" $(TESTS)

test-all: $(READY)
	$(PYTEST) $(TESTS)

bench: $(READY)
	@for one in $(or $(P),$(BENCHES)); do $(BIN)/python tools/bench_$$one.py || exit 1; done

# Each of these names more than it needs, some of it broken beside today's torch: hence --no-deps.
oracles: $(READY)
	$(PIP) install --quiet --no-deps distillmos xls-r-sqa==0.1.0 einops speechmos onnxruntime flatbuffers Resemblyzer \
	  webrtcvad-wheels pocketsphinx univoc omegaconf importlib_resources antlr4-python3-runtime==4.9.3

wheels: $(READY) $(POETRY)
	$(BIN)/python tools/wheels.py --poetry "$(POETRY)"

check: $(READY) $(POETRY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/bump_version.py --check
ifneq ($(POETRY),)
	for package in $(PACKAGES); do $(POETRY) check --project packages/$$package || exit 1; done
else
	@echo "poetry check: LEFT OUT, because POETRY is empty"
endif

setup:
	rm -f $(READY)
	$(MAKE) $(READY)

# An interrupted set-up leaves no stamp, so the next one starts from nothing; a changed pyproject.toml updates in place.
# torch comes in the same call as the packages: any other order may replace the CPU build by several GB of CUDA.
$(READY): pyproject.toml $(wildcard packages/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is " \
	  + sys.version.split()[0] + ": try make PYTHON=python3.12")'
	@if [ -e $@ ] && $(BIN)/python -c ""; then rm $@; else $(PYTHON) -m venv --clear .venv; fi
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet "$(TORCH)" $(PACKAGES:%=-e packages/%) --group dev
	@for extra in pesq "visqol-python[lattice]" pocketsphinx "--no-deps torchaudio==2.11.0"; do $(PIP) install --quiet $$extra \
	  || echo "NOTE: $$extra could not be installed (pesq needs a C compiler): what it is for and its tests are left out"; done
	@touch $@

# poetry lives apart from .venv: installed beside torch it could be asked to replace it
.venv/poetry/bin/poetry: | $(READY)
	@$(PYTHON) -m venv --clear .venv/poetry && .venv/poetry/bin/python -m pip install --quiet --upgrade pip \
	  && .venv/poetry/bin/python -m pip install --quiet poetry \
	  || { rm -rf .venv/poetry; echo "poetry could not be installed: make check POETRY= leaves its part out"; exit 1; }

clean:
	rm -rf .venv dist demo-out build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find packages tests tools -name __pycache__ -prune -exec rm -rf {} +
