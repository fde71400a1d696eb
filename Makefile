# make run · make test · make nightly · make check · make bench · make docs · make lock · make clean
#
# Everything is installed in .venv, and npm packages of the tests in tests/javascript. The stamp files in .venv (.made,
# .run, .project, .dev, .npm, .bench) record which lock files were installed, so that nothing is installed twice.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test nightly check bench wrk docs lock clean FORCE
MAKEFLAGS += --no-print-directory
# Without its cache, Python would compile everything again at each of some hundred starts.
unexport PYTHONDONTWRITEBYTECODE

# The benchmark keeps its journals, peers and environment here.
CACHE := $(or $(SMSHOOK_BENCH_CACHE),.bench-cache)
PRODUCT := $(CACHE)/venv

# The first of these interpreters that is new enough and has venv makes .venv.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11

# Packages are checked by hash, so any index that pip is configured for is safe.
# --quiet twice shows errors, but not the warnings of pip about its configuration.
PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet --quiet
# Python compiles a module at its first import. Compiling all of them would take most of the time.
INSTALL := $(PIP) install --require-hashes --only-binary :all: --no-deps --no-compile

# More test processes than processors: many tests wait, for timers and for real processes.
WORKERS ?= 4

help:
	@echo 'make run     serve; LISTEN=127.0.0.1:9000 ADMIN_LISTEN=127.0.0.1:9001 change the ports'
	@echo 'make test    all that CI runs: the checks, the tests, the coverage'
	@echo 'make nightly tests that are too long for CI: a hundred kills, the image, long searches, benchmarks'
	@echo 'make check   lint, format, types and import layers only'
	@echo 'make bench   measure speed, memory and growth; QUICK=1 takes two minutes, ONLY=NAME selects cases'
	@echo 'make docs    make docs/reference and docs/pictures again, from the code'
	@echo 'make lock    resolve requirements/*.txt again; UPGRADE=1 takes newer versions'
	@echo 'make clean   remove .venv and what tools left behind; never the journal or smshook.yaml'
	@echo 'PYTHON=/path/to/python3.11 chooses the interpreter that makes .venv'

# If SMSHOOK_CONFIG names a configuration, make run writes none.
# exec: signals reach the service, not a shell that waits for it.
run: .venv/.project
	@test -e smshook.yaml || test -n "$$SMSHOOK_CONFIG" || { .venv/bin/smshook init >/dev/null && \
		echo 'wrote smshook.yaml and smshook.root: they hold your secrets'; }
	@exec .venv/bin/smshook serve $(if $(LISTEN),--listen '$(LISTEN)') \
		$(if $(ADMIN_LISTEN),--admin-listen '$(ADMIN_LISTEN)')

# The checks run beside the tests. Their output comes after that of the tests. The first pytest
# compiles each module once. Without it, each worker would compile all of them.
test: .venv/.dev .venv/.npm
	@.venv/bin/coverage erase
	@$(MAKE) check > .venv/check.log 2>&1 & checking=$$!; failed=0; \
	.venv/bin/python -m pytest --quiet --collect-only $(ARGS) > .venv/collect.log; \
	.venv/bin/coverage run -m pytest --quiet -n $(WORKERS) --dist worksteal $(ARGS) || failed=$$?; \
	wait $$checking || failed=$$?; cat .venv/check.log; exit $$failed
	@.venv/bin/coverage combine --quiet
	@.venv/bin/coverage report

# Without coverage: some of these tests fill the machine with connections or processes.
nightly: .venv/.dev .venv/.npm
	@.venv/bin/python -m pytest --quiet -m nightly -n $(WORKERS) --dist worksteal $(ARGS)
	@.venv/bin/python -m pytest --quiet -n $(WORKERS) --dist worksteal --timeout=900 \
		--hypothesis-profile=search tests/core tests/receiver tests/routes tests/journal tests/server/api
	@$(MAKE) bench QUICK=1

check: .venv/.dev
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet . || { echo 'run: .venv/bin/ruff format .' >&2; exit 1; }
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/mypy --no-error-summary docs/*/*.py packaging/grafana/*.py
	@.venv/bin/lint-imports --no-logo > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }
	@echo 'checks: clean'

bench: wrk .venv/.bench $(PRODUCT)/.made
	@.venv/bin/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

# Checked before anything is installed.
wrk:
	@command -v wrk >/dev/null || { echo 'wrk is not there: apt install wrk, then run make bench again' >&2; exit 1; }

docs: .venv/.dev
	@.venv/bin/python docs/reference/generate.py
	@SMSHOOK_EXAMPLES=write .venv/bin/python -m pytest --quiet tests/server/api/test_examples.py
	@.venv/bin/python docs/reference/service_keys.py
	@.venv/bin/python docs/pictures/take.py
	@.venv/bin/python docs/pictures/rooms.py
	@.venv/bin/python docs/pictures/console.py

COMPILE := .venv/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--only-binary :all: --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	$(if $(UPGRADE),--upgrade)
BUILD_REQUIRES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

lock: .venv/.dev
	@$(COMPILE) -o requirements/run.txt pyproject.toml
	@.venv/bin/python -c '$(BUILD_REQUIRES)' | $(COMPILE) -o requirements/build.txt -
	@$(COMPILE) --group dev --all-extras -c requirements/run.txt -c requirements/build.txt \
		-o requirements/dev.txt pyproject.toml
	@$(COMPILE) --group bench -c requirements/dev.txt -o requirements/bench.txt

clean:
	rm -rf .venv build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	rm -rf tests/javascript/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment has absolute paths and belongs to one Python. If the folder was moved or
# that Python was replaced, it is made again.
HOME_OF_VENV := import os, sys; print(os.getcwd(), sys.version_info[:2])
MADE_HERE := $(shell test -x .venv/bin/python && \
	test "$$(cat .venv/.home 2>/dev/null)" = "$$(.venv/bin/python -ISc '$(HOME_OF_VENV)' 2>/dev/null)" && echo yes)

.venv/.made: $(if $(MADE_HERE),,FORCE)
	@set -e; python=; \
	for candidate in $(PYTHON); do \
		if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		first=$(firstword $(PYTHON)); \
		version=$$("$$first" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || version=; \
		if [ -z "$$version" ]; then \
			echo "$$first is not there: install Python 3.11 or newer, then run make again" >&2; \
		elif ! "$$first" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
			echo "$$first $$version is too old: install Python 3.11 or newer, then run make again with PYTHON=/path/to/python3.11" >&2; \
		else \
			echo "$$first has no venv: apt install python3-venv, then run make again" >&2; \
		fi; \
		exit 1; \
	fi; \
	echo "making .venv with $$("$$python" -V)"; \
	rm -rf .venv; "$$python" -m venv .venv; \
	.venv/bin/python -ISc '$(HOME_OF_VENV)' > .venv/.home; \
	touch $@

.venv/.run: .venv/.made requirements/run.txt requirements/build.txt
	@echo 'installing what smshook needs'
	@$(INSTALL) -r requirements/run.txt -r requirements/build.txt
	@touch $@

.venv/.project: .venv/.run pyproject.toml
	@$(PIP) install --no-build-isolation --no-deps --no-index --editable .
	@touch $@

# uv takes a quarter of pip's time. It does not read pip's settings, which may name another index:
# if it cannot install, pip does.
LOCKS := requirements/run.txt requirements/build.txt requirements/dev.txt
FROM_LOCKS := $(addprefix -r ,$(LOCKS))
UV := UV_HTTP_RETRIES=1 UV_HTTP_TIMEOUT=20 .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps

.venv/.dev: .venv/.made $(LOCKS) pyproject.toml
	@echo 'installing what smshook and the tests need'
	@sed -n '/^uv==/,/# via/p' requirements/dev.txt > .venv/uv.txt
	@$(INSTALL) -r .venv/uv.txt
	@$(UV) --require-hashes --only-binary :all: $(FROM_LOCKS) 2> .venv/uv.log || $(INSTALL) $(FROM_LOCKS)
	@$(UV) --no-build-isolation --no-index --editable .
	@touch .venv/.run .venv/.project $@

# Without npm, the tests that need it are skipped. npm checks the hashes of the lock file.
.venv/.npm: .venv/.made tests/javascript/package-lock.json
	@if command -v npm >/dev/null; then \
		echo 'installing the npm packages of the tests'; \
		npm --prefix tests/javascript ci --ignore-scripts --no-audit --no-fund --silent && touch $@; \
	fi

# The measured service runs in its own environment, as users have it. It would import numpy if it
# found it there.
$(PRODUCT)/.made: .venv/.project requirements/run.txt requirements/build.txt
	@echo 'installing what is measured'
	@rm -rf $(PRODUCT)
	@.venv/bin/python -m venv --without-pip $(PRODUCT)
	@$(subst -m pip,-m pip --python $(PRODUCT)/bin/python,$(INSTALL)) \
		-r requirements/run.txt -r requirements/build.txt
	@$(subst -m pip,-m pip --python $(PRODUCT)/bin/python,$(PIP)) \
		install --no-build-isolation --no-deps --no-index --editable .
	@touch $@

.venv/.bench: .venv/.project requirements/bench.txt
	@echo 'installing what the benchmark needs'
	@$(INSTALL) -r requirements/bench.txt
	@touch $@
