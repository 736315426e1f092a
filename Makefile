# Bottleneck Lab. `make` alone lists the targets.

PYTHON   ?=
PORT     ?= 8501
ARGS     ?=
PIP_ARGS ?=

VENV := .venv
PY   := $(VENV)/bin/python
# Progress bars for people, silence in a log.
QUIET := $(shell test -t 2 || echo --quiet)
PIP  := $(PY) -m pip --disable-pip-version-check install --no-input $(QUIET) $(PIP_ARGS) -c constraints.txt

# Both cores: a test file goes to one process as a whole, so that its module's fixtures are made once. Files go in
# order: those with the fewest tests, which are the longest, would come last otherwise. Each process has a browser and a
# server of its own.
BOTH := -n 2 --dist loadfile --no-loadscope-reorder

# A browser test that fails is tried once more. The summary names it with its first failure: a fault to find, which keeps
# no other work back.
ONCE_MORE := --reruns 1

# A stamp is written after its step is complete, so a half-finished install is done again.
MADE  := $(VENV)/.made
APP   := $(VENV)/.app-installed
TESTS := $(VENV)/.tests-installed

# An environment whose Python went away (moved, upgraded) is made anew.
ifneq ($(shell test -x $(PY) && $(PY) -c 'print(1)' 2>/dev/null),1)
$(shell rm -f $(MADE) $(APP) $(TESTS))
endif

.PHONY: help run test test-fast lint benchmark clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Variables: PORT=8501 (run), ARGS="..." (run, test and test-fast: passed to pytest, benchmark), PYTHON=/path/to/python3, PIP_ARGS="..."'

run: $(APP) ## install what is missing and start the app on http://localhost:8501
	$(PY) -m streamlit run streamlit_app.py --server.port $(PORT) $(ARGS)

test: $(TESTS) ## lint, types and all tests, those in a real browser included
	@$(PY) tests/browser/chromium.py
	$(PY) -m ruff check .
	$(PY) -m ruff format --check --quiet .
	$(PY) -m mypy
ifeq ($(ARGS),)
	$(PY) -m pytest $(BOTH) -m "not alone" tests/unit tests/app
	$(PY) -m pytest $(ONCE_MORE) -m "not alone" tests/browser
	$(PY) -m pytest $(ONCE_MORE) -m alone tests/unit/jobs tests/browser
else
	$(PY) -m pytest $(ARGS)
endif

test-fast: $(TESTS) ## the tests that start no processes and no browser
	$(PY) -m pytest $(BOTH) -m "not slow" tests/unit tests/app $(ARGS)

lint: $(TESTS) ## sort imports, format, lint and check types
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) -m mypy

benchmark: $(APP) ## measure training, sharing the machine, and answering, side by side
	$(PY) -m core benchmark $(ARGS)

clean: ## remove the environment and caches (datasets and runs stay)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache test-results
	find core pages scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(MADE):
	@python=; for name in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'Bottleneck Lab needs Python 3.11 or newer, and none was found: install it, or give its path as in make run PYTHON=/path/to/python3.' >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	  echo "$$python cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; \
	fi; \
	echo "Making the environment $(VENV) with $$("$$python" --version)"; \
	if test -x $(PY) && $(PY) -c 1 2>/dev/null; then "$$python" -m venv $(VENV); else "$$python" -m venv --clear $(VENV); fi
	@touch $@

$(APP): requirements.txt constraints.txt $(MADE)
	@echo 'Installing the dependencies: some minutes the first time, nothing after that.'
	@options=$$($(PY) scripts/torch_index.py) && $(PIP) $$options -r requirements.txt
	@touch $@

$(TESTS): tests/requirements.txt $(APP)
	$(PIP) -r tests/requirements.txt
	@touch $@
