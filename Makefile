# Needs Python 3.11 or newer, git and make; everything else goes into .venv.
# ARGS is handed on: make up ARGS="--port 8500 --bare", make test ARGS="tests/memory -x".

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo "$$name" && break; done)
VENV := .venv/bin/python
ACADEMY := $(VENV) -P -m server.cli
ARGS ?=

# A virtual environment holds absolute paths: one that was copied or moved is made anew.
MADE_FOR := $(shell sed -n 's/^command = .* -m venv //p' .venv/pyvenv.cfg 2>/dev/null)
ifneq ($(MADE_FOR),$(CURDIR)/.venv)
MOVED := anew
endif

# uv doesn't read pip's configuration; a registry or certificate set there must count all the same.
REGISTRY = \
	index="$${PIP_INDEX_URL:-$$($(VENV) -m pip config get global.index-url 2>/dev/null)}"; \
	if [ -n "$$index" ] && [ -z "$$UV_DEFAULT_INDEX" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	cert="$${PIP_CERT:-$$($(VENV) -m pip config get global.cert 2>/dev/null)}"; \
	if [ -n "$$cert" ] && [ -z "$$SSL_CERT_FILE" ]; then export SSL_CERT_FILE="$$cert"; fi;
UV = $(REGISTRY) $(VENV) -m uv pip install --python $(VENV)
PIP = $(VENV) -m pip install --disable-pip-version-check

# $(call install,LOCK): the locked packages with their hashes checked, then this project.
define install
	@echo "Setting up: packages of $(1) (a minute or two the first time)"
	@$(UV) --require-hashes -r $(1) || \
		{ echo "uv could not install them; trying pip, which is slower"; \
		$(PIP) --require-hashes -r $(1); }
	@echo "Setting up: the academy itself"
	@$(UV) --quiet --no-deps --editable . || $(PIP) --quiet --no-deps --editable .
endef

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev up down test check evals bench lock screenshot cassettes anew

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: .venv/.runtime ## Make .venv and install what the academy runs on

up: .venv/.runtime ## Set up where needed, then run the academy until Ctrl-C (ARGS="--port 8500 --bare")
	@exec $(ACADEMY) up $(ARGS)

down: ## Stop the academy that runs on ACADEMY_HOME, from elsewhere
	@test -x $(VENV) || { echo "Nothing is set up here, so nothing runs from here."; exit 0; }; \
	exec $(ACADEMY) down $(ARGS)

test: .venv/.dev ## Run the tests (ARGS="tests/memory -x" for some of them)
	$(VENV) -m pytest $(ARGS)

check: .venv/.dev ## Format, lint, types, import contracts and the shape of the house
	$(VENV) -m ruff format --check .
	$(VENV) -m ruff check .
	$(VENV) -m mypy
	.venv/bin/lint-imports
	$(VENV) -m evals lock --check
	$(VENV) -m evals regressions --check
	$(VENV) -m pytest -q tests/test_layout.py

evals: .venv/.dev ## Play an evaluation suite and earn what it proves (ARGS="healing --quick")
	$(VENV) -m evals run $(ARGS)

bench: .venv/.dev ## Measure engines beside a baseline (ARGS="front --json" for one)
	$(VENV) -m evals bench $(ARGS)

lock: .venv/bin/uv ## Resolve both lock files (ARGS=--upgrade for the newest versions)
	@$(LOCK) --extra dev --output-file requirements-dev.lock
	@$(LOCK) --constraints requirements-dev.lock --output-file requirements.lock

screenshot: .venv/.dev ## Take the README's screenshot with the project's own browser test
	ACADEMY_SCREENSHOT=1 $(VENV) -m pytest -q -m browser -k screenshot

cassettes: .venv/.dev ## Record the model exchanges anew (ACADEMY_MODEL_URL for a real endpoint)
	$(VENV) -m tests.cassettes.record

LOCK = $(REGISTRY) $(VENV) -m uv pip compile pyproject.toml --quiet $(ARGS) --generate-hashes \
	--no-emit-index-url --no-emit-find-links --python-version 3.11 \
	--custom-compile-command "make lock"

setup-dev: .venv/.dev

.venv/bin/uv: $(MOVED)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and none is on PATH." \
		"Install it, or name it: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@echo "Setting up: .venv with $$($(PYTHON) --version)"
	@rm -rf .venv
	@$(PYTHON) -m venv "$(CURDIR)/.venv" || { rm -rf .venv; echo "Python's venv module did not work." \
		"On Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PIP) --quiet uv || { rm -rf .venv; exit 1; }

.venv/.runtime: requirements.lock pyproject.toml $(MOVED) | .venv/bin/uv
	$(call install,requirements.lock)
	@touch $@

.venv/.dev: requirements-dev.lock pyproject.toml $(MOVED) | .venv/bin/uv
	$(call install,requirements-dev.lock)
	@touch $@ .venv/.runtime
