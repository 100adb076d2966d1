# Two commands set up everything: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# pip's notes about its own configuration are of no use to a reader of this output
QUIET_PIP := 2>&1 | { grep -v -E "is ignored: it is neither|Running pip as|A new release of pip" || true; }
# install-locked LOCK ENVIRONMENT. uv takes seconds where pip takes a minute, but knows nothing of pip's configuration: a mirror set
# there is handed on, and what uv cannot do (a proxy, a certificate only pip was told of) pip does (docs/decisions/0012).
install-locked = set -o pipefail; export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(PIP) config get global.index-url 2>/dev/null)}}"; \
	  [ -n "$$UV_DEFAULT_INDEX" ] || unset UV_DEFAULT_INDEX; \
	  $(BIN)/uv pip install --quiet --no-config --no-deps --require-hashes --python $(2)/bin/python -r $(1) 2>$(VENV)/uv.log || { \
	    echo "uv could not install $(1) ($(VENV)/uv.log says why); pip does it, which takes a minute longer …"; \
	    $(2)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --no-compile --require-hashes -r $(1) $(QUIET_PIP); }

.DEFAULT_GOAL := help
.PHONY: help demo test setup check peers unit graph ros-test gazebo bench clean lock

help:                 ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: setup           ## set up, then verify a reducer on the emulated bench through ROS 2; prints where the report lies
	@$(BIN)/pilotbench demo

test: setup check unit graph   ## set up, then every check and every test but those that watch the wall's clock (ros-test)

setup: $(VENV)/.ready ros_ws/install/.ready   ## virtual environment and ROS 2 workspace, nothing outside this folder

$(VENV)/.ready: requirements/lock.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "pilotbench: $(PYTHON) not found; install Python 3.11 or newer with its venv module"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pilotbench: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V); set PYTHON=…"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "pilotbench: the venv module is missing; on Debian: apt-get install python3-venv"; exit 2; }
	@echo "setting up $(VENV) (once, less than a minute) …"
	@$(PYTHON) -m venv $(VENV)
	@awk '/^[a-z]/ { uv = /^uv==/ } uv' requirements/lock.txt > $(VENV)/uv.txt
	@set -o pipefail; $(PIP) install --no-deps --no-compile --require-hashes -r $(VENV)/uv.txt $(QUIET_PIP)
	@$(call install-locked,requirements/lock.txt,$(VENV))
	@set -o pipefail; $(PIP) install --no-deps --no-build-isolation -e . $(QUIET_PIP)
	@touch $@

ros_ws/install/.ready: $(VENV)/.ready $(shell find ros_ws/src ros_ws/bootstrap.py -type f -not -path '*/__pycache__/*' 2>/dev/null)
	@echo "building the ROS 2 workspace (once, about half a minute) …"
	@$(BIN)/python ros_ws/bootstrap.py
	@touch $@

check: setup          ## style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

PEERS := tests/wire/peers
peers: $(PEERS)/node_modules/.ready   ## foreign protocol stacks from npm, for the tests (where npm is installed)

$(PEERS)/node_modules/.ready: $(PEERS)/package-lock.json
	@mkdir -p $(@D)
	@if command -v npm >/dev/null; then cd $(PEERS) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null; \
	  else echo "npm is not installed: the tests with its CANopen devices are skipped"; fi
	@mkdir -p $(@D) && touch $@

UNIT := -q -m "not ros and not slow and not gazebo" --doctest-modules --ignore verification_platform/ros/client.py \
	  --ignore verification_platform/ros/launching.py --ignore tests/gazebo/closed_loop.py \
	  tests drivers verification_platform test_protocols reports
unit: setup peers     ## tests that need no ROS graph, in parallel; what fails is tried once more alone (processors may be shared)
	@$(BIN)/pytest -n 2 $(UNIT) || { echo "once more, what failed, alone"; $(BIN)/pytest --last-failed --last-failed-no-failures none $(UNIT); }

graph: setup          ## tests that start the ROS graph on emulated wires, one after another
	@$(BIN)/pytest -q -m "ros and not faults and not gazebo" tests || { echo "once more, what failed"; $(BIN)/pytest -q -m "ros and not faults and not gazebo" --last-failed tests; }

ros-test: setup       ## all tests of the ROS graph, kills and cuts included; these watch the wall's clock and want a quiet machine
	@$(BIN)/pytest -q -m "ros and not gazebo" tests || { echo "again, what failed: on a shared machine a clock may have been stopped"; $(BIN)/pytest -q -m "ros and not gazebo" --last-failed tests; }

GAZEBO := $(BIN)/pytest -q tests/gazebo -m
# Those that need no ROS run while its workspace is built.
gazebo:               ## Gazebo tests; sets up a headless Gazebo 11 from Debian packages beside the rest (.cache/gazebo11, no root)
	@$(PYTHON) ros_ws/gazebo11.py & gazebo=$$!; \
	$(MAKE) --no-print-directory $(VENV)/.ready || { kill $$gazebo; exit 2; }; \
	wait $$gazebo; code=$$?; [ $$code -eq 0 ] || [ $$code -eq 3 ] || exit $$code; \
	tried() { $(GAZEBO) "$$1" $$2 || { echo "once more, what failed"; $(GAZEBO) "$$1" --last-failed --last-failed-no-failures none; }; }; \
	$(MAKE) --no-print-directory setup & setup=$$!; \
	tried "gazebo and not (ros or rate)" "-n 2 --dist loadfile"; failed=$$?; \
	wait $$setup || exit 2; \
	[ $$failed -eq 0 ] && tried "gazebo and (ros or rate)" || exit 1; \
	[ $$code -eq 0 ] || echo "NOT RUN: the Gazebo tests (see above); they count as not run, not as passed"

BENCH := .cache/bench-venv
bench: setup $(BENCH)/.ready   ## analysis core and drivers beside their peers, in one run: tables and benchmarks/results/*.json
	@$(BENCH)/bin/python -m benchmarks.analysis
	@$(BENCH)/bin/python -m benchmarks.drivers
	@$(BIN)/python -m benchmarks.drivers.torque_off

$(BENCH)/.ready: requirements/bench-lock.txt | $(VENV)/.ready
	@echo "installing the peers into $(BENCH) (once) …"
	@$(PYTHON) -m venv $(BENCH)
	@$(call install-locked,$<,$(BENCH))
	@touch $@

clean:                ## remove everything that `make` has made
	rm -rf $(VENV) .cache $(PEERS)/node_modules ros_ws/build ros_ws/install ros_ws/log

lock: setup           ## renew requirements/lock.txt from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header -q -o requirements/lock.txt \
	  --extra core --extra ros --extra ros-build --extra report --extra camera --extra cluster --extra test --extra dev
	@$(BIN)/uv pip compile pyproject.toml --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header -q -o requirements/bench-lock.txt \
	  --extra core --extra bench
