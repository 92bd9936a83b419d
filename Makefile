# `make` lists the targets. PYTHON= picks the interpreter, VENV= the environment to build in.
PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8080
BACKENDS ?= $(if $(filter 1,$(WSFAST_PURE)),pure,compiled pure)

BIN := $(VENV)/bin
PYX := $(wildcard wsfast/*.pyx)
# A pure build and a compiled one are different states of the same environment.
BUILT := $(VENV)/.built$(if $(filter 1,$(WSFAST_PURE)),-pure)
GROUP = $(BIN)/python -m pip install -qq --group
# $(call each,COMMAND) runs it once for each backend, and fails if any run did.
each = status=0; for backend in $(BACKENDS); do $(BIN)/$(1) --backend=$$backend $(ARGS) || status=1; done; exit $$status
export PYTHONUNBUFFERED = 1

.DEFAULT_GOAL := help
.PHONY: help build run test lint format types coverage differential growth load sanitize bench micro interop compliance wheels clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

build: $(BUILT) ## make .venv and compile the extension modules

$(BUILT): pyproject.toml setup.py tools/build.sh $(PYX) $(wildcard wsfast/*.px[di])
	@sh tools/build.sh $(VENV) $(PYTHON) $@

$(VENV)/.test $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: pyproject.toml | $(BUILT)
	@echo "wsfast: installing what '$*' needs into $(VENV)"
	@$(GROUP) $* && touch $@

run: $(BUILT) ## serve the demo on 127.0.0.1:8080 (RUN_SECONDS=5 stops by itself)
	@$(if $(RUN_SECONDS),$(BIN)/python tools/run_for.py $(RUN_SECONDS)) $(BIN)/wsfast serve --host $(HOST) --port $(PORT)

test: $(BUILT) $(VENV)/.test ## run the tests on each backend
	@$(call each,python -m pytest)

lint: $(BUILT) $(VENV)/.lint ## ruff, cython-lint, codespell
	@$(BIN)/ruff check && $(BIN)/ruff format --check
	@PATH=$(BIN):$$PATH cython-lint $(PYX) $(wildcard wsfast/*.px[di])
	@$(BIN)/codespell

format: $(BUILT) $(VENV)/.lint ## rewrite the sources with ruff
	@$(BIN)/ruff check --fix && $(BIN)/ruff format

types: $(BUILT) $(VENV)/.lint ## mypy --strict, and the .pyi files against the modules
	@$(BIN)/mypy
	@$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml --ignore-disjoint-bases \
		--allowlist tools/stubtest-allowlist.txt $(PYX:wsfast/%.pyx=wsfast.%)

coverage: $(BUILT) $(VENV)/.test ## branch coverage of both backends, with a floor
	@$(BIN)/coverage erase
	@$(call each,coverage run -m pytest)
	@$(BIN)/coverage combine -q && $(BIN)/coverage report

differential: $(BUILT) $(VENV)/.test ## compare the backends on 100,000 random streams (long)
	@WSFAST_DIFFERENTIAL=$${WSFAST_DIFFERENTIAL:-100000} $(BIN)/python -m pytest --timeout=0 --backend=compiled tests/test_differential.py

growth: $(BUILT) $(VENV)/.test ## check that time and memory grow linearly
	@$(call each,python -m pytest --timeout=0 tests/growth)

load: $(BUILT) $(VENV)/.test ## check that 5,000 connections at once lose and leave nothing
	@$(call each,python -m pytest tests/load)

sanitize: ## run the tests and a server under load with the sanitizers of gcc
	@WSFAST_PURE=1 $(MAKE) --no-print-directory VENV=$(VENV)-sanitize $(VENV)-sanitize/.test
	@sh tools/sanitize.sh $(VENV)-sanitize $(ARGS)

bench: $(BUILT) $(VENV)/.bench ## compare with other servers and clients (7 minutes; FULL=1 for all)
	@$(BIN)/python bench/run.py $(ARGS)

micro: $(BUILT) $(VENV)/.bench ## micro-benchmarks of both backends, and of Node's ws
	@$(BIN)/python bench/micro.py $(ARGS)
	@$(BIN)/python bench/mirror.py $(filter --quick --write,$(ARGS))
	@$(BIN)/python bench/overhead.py $(filter --write,$(ARGS))

interop: $(BUILT) $(VENV)/.test ## install Node's ws, Chromium, nginx and proxies, and test against them
	@sh tools/install_interop.sh
	@$(call each,python -m pytest tests/interop)

compliance: $(BUILT) ## run the Autobahn test suite (half an hour; needs a CPython 2.7)
	@$(BIN)/python compliance/run.py $(ARGS)

wheels: ## build, check and test the wheels and the sdist into dist/
	@bash tools/build_wheels.sh

clean: ## remove builds, caches and environments
	rm -rf .venv* build dist *.egg-info htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f wsfast/*.so wsfast/*.pyd
	find wsfast tests bench compliance tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
