# Everything runs in .venv/, which is made again when setup.cfg changed.
#   make demo        the main job on this machine (DEMO_SECONDS=20, DEMO_GUESTS=2)
#   make test        all tests, on real daemons; make test-long: full loops and soaks
#   make lint bench docs
PYTHON ?= python3
BIN := .venv/bin
DEVSTACK := $(wildcard devstack/*.sh devstack/upgrade/*.sh tests/devstack/*.sh) devstack/settings \
    devstack/upgrade/settings devstack/lib/gnocchi tests/devstack/uwsgi

.PHONY: venv demo test test-long lint bench docs clean

venv: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	@tools/packages.sh compile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "missing: Python 3.11 or later ($(PYTHON) is older; name another with PYTHON=)" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	@echo "installing into .venv/"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[libvirt]'
	@touch $@

.venv/tests-installed: .venv/installed
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable \
	    '.[libvirt,central,gnocchi,bus,otlp,prometheus,test,lint,docs]'
	@touch $@

demo: .venv/installed
	@tools/demo.sh

test: .venv/tests-installed
	@tools/packages.sh guests services || test "$$CI" != true
	$(BIN)/python -m pytest -n 3 -m "not long"

test-long: .venv/tests-installed
	@tools/packages.sh guests services
	$(BIN)/python -m pytest

lint: .venv/tests-installed
	@tools/packages.sh lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python doc/generate.py --check
	$(BIN)/reno lint
	shellcheck -x -P SCRIPTDIR .ci/run tools/*.sh $(DEVSTACK)
	$(BIN)/bashate --max-line-length 100 $(DEVSTACK)

bench: .venv/tests-installed
	@tools/packages.sh guests services
	-@tools/packages.sh bench
	$(BIN)/python -m bench.sample_build
	$(BIN)/python -m bench.store
	$(BIN)/python -m bench.spool
	$(BIN)/python -m bench.wire
	$(BIN)/python -m bench.page
	$(BIN)/python -m bench.gnocchi
	$(BIN)/python -m bench.api_poll
	$(BIN)/python -m bench.partition
	$(BIN)/python -m bench.transform --ceilometer
	$(BIN)/python -m bench.poll_cycle
	$(BIN)/python -m bench.hung_guests

docs: .venv/tests-installed
	$(BIN)/python doc/generate.py
	$(BIN)/sphinx-build -W -q -b html doc/source doc/build/html

clean:
	rm -rf .venv build doc/build
