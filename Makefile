# Two commands matter: `make demo` and `make test`. Both install what they need into .venv first.
# They need git, make and Python 3.11 or newer; Python 3.13, the Lambda runtime, is used where it is found.

SHELL := /bin/bash
# The first that really runs: a version manager may leave a `python3.13` on the path that does not.
PYTHON ?= $(shell for each in python3.13 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13.*/bin/python3.13; do \
  "$$each" -c '' 2>/dev/null && echo "$$each" && exit; done; echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
UV := VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv

# Thousands of modules are imported again and again: their bytecode is worth keeping.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test slow browser pictures coverage lint format check audit fuzz fuzz-atheris statements simulate mutate bench build validate lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo ## The main job, end to end, in the embedded cloud.
	@$(BIN)/python -m local.demo

test: $(VENV)/.dev ## Every test but the slow ones.
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not slow"

slow: $(VENV)/.dev ## The slow ones: histories and statements of roles played through the embedded cloud once more.
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m slow

browser: $(VENV)/.browser ## Board, report and playground in a headless Chromium; skipped without one.
	$(BIN)/python -m pytest -rs tests/browser

pictures: $(VENV)/.dev ## The README's pictures and transcript, from a real run in the embedded cloud.
	$(BIN)/python -m local.pictures

coverage: $(VENV)/.dev ## Every test, and how much of the core they reach.
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --cov --cov-report=term --cov-fail-under=95

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

validate: $(VENV)/.dev ## The templates, by the linters AWS gives.
	$(BIN)/cfn-lint template.yaml target.yaml group.yaml
	AWS_DEFAULT_REGION=eu-west-1 SAM_CLI_TELEMETRY=0 $(BIN)/sam validate --lint --template template.yaml
	AWS_DEFAULT_REGION=eu-west-1 SAM_CLI_TELEMETRY=0 $(BIN)/sam validate --lint --template target.yaml
	AWS_DEFAULT_REGION=eu-west-1 SAM_CLI_TELEMETRY=0 $(BIN)/sam validate --lint --template group.yaml

audit: $(VENV)/.dev $(VENV)/.audit ## What other tools say of templates, roles and dependencies.
	$(BIN)/python -m audit $(VENV)/audit/bin

check: lint validate audit test ## What CI runs.

SEEDS ?= 2000
simulate: $(VENV)/.dev ## The fault simulation: SEEDS=n of them, or SEED=n to replay one.
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

COUNT ?= 1000000
fuzz: $(VENV)/.dev ## Malformed events and policies: COUNT=n of them.
	SAGEOPS_FUZZ=$(COUNT) $(BIN)/python -m pytest tests/security/test_fuzz.py --numprocesses auto

# libFuzzer for Python, beside the environment and not in it. It has no wheel for every machine.
ATHERIS := atheris==3.1.0
FUZZ_SECONDS ?= 60
fuzz-atheris: $(VENV)/.dev ## The same, led by what is reached, for FUZZ_SECONDS=n; skipped where atheris is not to be had.
	@if $(UV) pip install --quiet --target $(VENV)/atheris $(ATHERIS); then \
	  PYTHONPATH=$(VENV)/atheris $(BIN)/python -m tests.security.fuzz_atheris $(VENV)/fuzz -max_total_time=$(FUZZ_SECONDS); \
	else echo "skipped: $(ATHERIS) cannot be installed here; \`make fuzz\` needs nothing of it"; fi

# Mutants of what decides, against the unit tests of the core. All of them take a quarter of an hour on two cores,
# those of one module minutes: MUTANTS="sageops.reconcile*".
mutate: $(VENV)/.mutation ## Mutation testing: which changes of the core no unit test notices.
	rm -rf .mutation && mkdir -p .mutation/tests/unit
	cp -R layers/core/sageops benchmarks .mutation
	cp -R tests/unit/core .mutation/tests/unit
	cp -R tests/snapshots.py tests/seen .mutation/tests
	cp tests/mutation/setup.cfg .mutation/setup.cfg
	cp tests/mutation/conftest.py .mutation/tests/unit/conftest.py
	cd .mutation && PYTHONPATH= $(abspath $(VENV))/mutation/bin/mutmut run $(if $(MUTANTS),"$(MUTANTS)") > run.log
	$(VENV)/mutation/bin/python -m benchmarks.mutants .mutation/mutants

statements: $(VENV)/.dev ## Each statement of each role is taken away once, and something is refused.
	SAGEOPS_STATEMENTS=all $(BIN)/python -m pytest tests/security/test_every_statement.py --numprocesses auto

bench: $(VENV)/.dev ## What is measured: ratios in one run, and counts.
	$(BIN)/python -m benchmarks.weight
	$(BIN)/python -m benchmarks.judge
	$(BIN)/python -m benchmarks.canary

build: $(VENV)/.dev ## `sam build`, without Docker.
	PATH="$(abspath $(BIN)):$$PATH" SAM_CLI_TELEMETRY=0 $(BIN)/sam build --template template.yaml

lock: $(VENV)/.uv ## Resolve the dependencies anew. The files carry hashes and name no index.
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --extra local --extra dev -o requirements/dev.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --extra local -c requirements/dev.txt -o requirements/demo.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements/audit.in -o requirements/audit.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml --extra browser -c requirements/dev.txt -o requirements/browser.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header requirements/mutation.in -o requirements/mutation.txt
	$(UV) pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-emit-index-url --no-annotate --no-header layers/core/requirements.in -c requirements/dev.txt -o layers/core/requirements.txt

clean:
	rm -rf $(VENV) .aws-sam

$(VENV)/.uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(VENV)/.uv
	$(UV) pip install --quiet --require-hashes -r requirements/demo.txt
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.mutation: requirements/mutation.txt | $(VENV)/.uv
	$(PYTHON) -m venv $(VENV)/mutation
	VIRTUAL_ENV=$(abspath $(VENV)/mutation) $(BIN)/uv pip install --quiet --require-hashes -r requirements/mutation.txt
	@touch $@

# Apart from the rest, and only for `make audit`.
$(VENV)/.audit: requirements/audit.txt | $(VENV)/.uv
	$(PYTHON) -m venv $(VENV)/audit
	VIRTUAL_ENV=$(abspath $(VENV)/audit) $(BIN)/uv pip install --quiet --require-hashes -r requirements/audit.txt
	@touch $@

# Chromium is Debian's; axe-core is not kept here (MPL-2.0). Without either the tests are skipped and say so.
AXE_CORE := axe-core@4.14.1
$(VENV)/.browser: requirements/browser.txt | $(VENV)/.dev
	$(UV) pip install --quiet --require-hashes -r requirements/browser.txt
	command -v chromium google-chrome >/dev/null || (apt-get update -qq && apt-get install -qq --yes chromium) || true
	(cd $(VENV) && tar -xzOf "$$(npm pack --silent $(AXE_CORE))" package/axe.min.js > axe.min.js) || rm -f $(VENV)/axe.min.js
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(VENV)/.uv
	$(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --no-deps --editable .
	@touch $@ $(VENV)/.demo
