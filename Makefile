# The commands that people type. Everything is installed into .venv, from requirements.lock.

PYTHON ?= python3
BIN := .venv/bin
# `make run TORCH_BACKEND=cpu` takes PyTorch's own builds without CUDA: much smaller, but then
# versions are resolved anew, since the lock pins the builds of the common index.
TORCH_BACKEND ?=
# Without compiled packages every start of a consumer compiles PyTorch anew, for ten seconds.
export PYTHONDONTWRITEBYTECODE :=
# Tests mostly wait. Two processes of them, each with servers of its own; a file stays in one.
AT_ONCE ?= -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: run test soak check lint servers secrets lock audit bench clean

run: .venv/installed  ## start Darkroom here, without any server
	@exec $(BIN)/darkroom up

test: .venv/installed  ## the whole suite, against real servers that this starts
	@$(BIN)/python -m infra --install
	@exec $(BIN)/python -m pytest $(AT_ONCE)

soak: .venv/installed  ## two hours of crashes and kills under load, then many more cases of chance
	@$(BIN)/python -m infra --install
	$(BIN)/python -m tests.faults.soak
	SOAK=1 $(BIN)/python -m pytest tests/abuse/test_schema.py \
		tests/faults/test_interleavings.py tests/faults/test_chance_crashes.py

check: lint  ## the quick gate: lint, types, imports, unit and contract tests
	@$(BIN)/python -m infra --install
	@exec $(BIN)/python -m pytest $(AT_ONCE) tests/unit tests/contract

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

servers: .venv/installed  ## Kafka, MinIO and Postgres on loopback, to play with
	@exec $(BIN)/python -m infra

# The name under which users reach it; it stands in the certificate and in links.
DOMAIN ?= localhost
secrets:  ## what docker compose needs: passwords, the first key, a certificate
	@$(PYTHON) -m infra.make_secrets --host $(DOMAIN)

lock: .venv/installed  ## write requirements.lock anew
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
		--all-extras --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
		--output-file requirements.lock pyproject.toml

audit: .venv/installed  ## known faults of the locked packages; asks PyPI
	@$(BIN)/uv tool run pip-audit --requirement requirements.lock --strict --require-hashes --disable-pip

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Darkroom needs Python 3.11 or newer: make PYTHON=python3.11")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "Installing Darkroom's packages (PyTorch among them: some gigabytes the first time) ..."
ifeq ($(TORCH_BACKEND),)
	@VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet requirements.lock
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --editable .
else
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --torch-backend $(TORCH_BACKEND) \
		--editable '.[api,consumers,scaler,simulation,tests,traces,tui]'
endif
	@touch $@
