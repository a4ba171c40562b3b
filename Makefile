# Everything a person does here by hand. Needs GNU make, Python 3.11 or later with venv, Linux on x86-64; no root.

PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; \
	done)
ARGS ?=

BIN := .venv/bin
lock_hash = $(firstword $(shell sha256sum requirements/$(1).txt))
DEV := .venv/installed-dev-$(call lock_hash,dev)
TEST := .venv/installed-test-$(call lock_hash,test)
BENCH := .venv-bench/installed-$(call lock_hash,bench)
MINISTACK := .venv-ministack/installed-$(call lock_hash,ministack)
FUZZ := .venv-fuzz/installed-$(call lock_hash,fuzz)
# npm writes it last.
CLIENT := clients/js/node_modules/.package-lock.json
SHARP := benchmarks/sharp/node_modules/.package-lock.json
PEERS := benchmarks/peers/node_modules/.package-lock.json
INSTALL := -m pip install --quiet --disable-pip-version-check --require-hashes --requirement

.PHONY: help run test environments lint types contracts client check audit-dependencies sbom format contact-sheet lock clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

run: $(DEV) ## Start everything on this machine (Ctrl-C stops it; the data stays in .dev)
	@exec $(BIN)/python -m service dev

# Whole files to three processes, each with servers of its own, since a third of the time is spent waiting; the browser's
# tests, first and longest, all to one. The service is started hundreds of times: it is compiled once, whatever the shell says.
test: $(TEST) $(MINISTACK) ## Run the suite; ARGS="tests/unit -k delivery" narrows it
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(or $(ARGS),--numprocesses 3 --dist loadfile --no-loadscope-reorder)

environments: $(TEST) $(MINISTACK) ## Build what the other targets need

lint: $(TEST) ## Check style, format and what bandit warns of; of the scripts and the Dockerfile too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --severity-level medium --recursive service schema resolvers indexes .ci
	$(BIN)/shellcheck .ci/run docker/new-env
	$(BIN)/hadolint Dockerfile

types: $(TEST) ## Check types
	$(BIN)/mypy

contracts: $(TEST) ## Check who imports whom
	$(BIN)/lint-imports

client: $(CLIENT) ## Check and test the browser client (needs Node.js)
	npm --prefix clients/js run --silent check
	npm --prefix clients/js run --silent test

check: lint types contracts client test ## Everything that must hold before a commit

audit-dependencies: $(TEST) ## Ask advisory databases about every locked dependency (needs Node.js and the internet)
	@$(BIN)/python .ci/audit_dependencies.py

sbom: $(TEST) ## Write what the images install, as CycloneDX, into build/sbom
	@$(BIN)/python .ci/sbom.py build/sbom

format: $(TEST) ## Put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-limits: $(TEST) ## What charging a request to its viewer costs
	$(BIN)/python -m benchmarks.limits

bench-uploads: $(TEST) ## Load the service with a burst of uploads while clients and workers die
	$(BIN)/python -m benchmarks.uploads

bench-queue: $(TEST) ## Measure how soon a photo can be looked at beside a backfill, what workers gain, what their deaths cost
	$(BIN)/python -m benchmarks.queue $(ARGS)

bench-memory: $(TEST) ## Send a file of 1 GiB and measure the memory of each process
	$(BIN)/python -m benchmarks.memory

bench-sockets: $(TEST) ## Measure what 5,000 idle subscribers cost, and how soon news reaches them
	$(BIN)/python -m benchmarks.sockets $(ARGS)

bench-transport: $(TEST) ## Measure what an answer costs beside its operation, and what each coding saves
	$(BIN)/python -m benchmarks.transport

bench-signing: $(TEST) ## Compare the cost of signed URLs with botocore's
	$(BIN)/python -m benchmarks.signing

bench-stability: $(TEST) ## Simulate a month of a feed: what caches hit when addresses stay the same
	$(BIN)/python -m benchmarks.url_stability

bench-bytes: $(TEST) ## Count the bytes of a feed's pictures on each network, against everybody's full JPEG
	$(BIN)/python -m benchmarks.feed_bytes

SECONDS ?= 60
fuzz: $(FUZZ) ## Fuzz what reads files, SECONDS=60 for each target; the corpus is kept in .fuzz
	@for target in detection limits metadata pipeline; do \
		echo "$$target, for $(SECONDS) seconds"; .venv-fuzz/bin/python -m tests.fuzz $$target $(SECONDS) || exit 1; done

bench-images: $(TEST) $(BENCH) $(SHARP) ## Compare the pipeline with plain Pillow, pyvips and sharp (needs Node.js)
	$(BIN)/python -m benchmarks.images $(ARGS)

bench-feed: $(TEST) $(PEERS) ## Compare a page of the feed with that of other servers, Node.js ones too; ARGS=--quick or ARGS=--growth
	$(BIN)/python -m benchmarks.feed $(ARGS)

bench-search: $(TEST) $(BENCH) ## Measure look-alikes, filters and lists of 10,000 to 1,000,000 media; ARGS=--quick, ARGS=--keep or ARGS=--scale
	$(BIN)/python -m benchmarks.search $(ARGS)

chaos: $(TEST) ## Make everything below the service fail under load, then audit; ARGS="--minutes 10 --seed 3" or ARGS="--plan FILE"
	$(BIN)/python -m tests.chaos $(ARGS)

contact-sheet: $(TEST) ## Draw docs/contact-sheet.jpg: every rendition of five kinds of files, to look at
	$(BIN)/python -m benchmarks.contact_sheet

lock: .venv-lock/bin/uv ## Resolve the dependencies again
	echo "hatchling>=1.27" | $(UV) - -o requirements/build.txt
	$(UV) --extra api pyproject.toml -o requirements/api.txt
	$(UV) --extra worker pyproject.toml -o requirements/worker.txt
	$(UV) --extra dev pyproject.toml -o requirements/dev.txt
	$(UV) --extra dev --extra test pyproject.toml -o requirements/test.txt
	$(UV) --extra worker pyproject.toml requirements/fuzz.in -o requirements/fuzz.txt
	$(UV) requirements/bench.in -o requirements/bench.txt
	echo "ministack==1.5.33" | $(UV) - -o requirements/ministack.txt

UV := .venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate --python-version 3.11

.venv-lock/bin/uv:
	$(call new_venv,.venv-lock)
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv

clean: ## Remove the environments and caches (not the data in .dev)
	rm -rf .venv .venv-ministack .venv-fuzz .fuzz .venv-bench .bench-search .venv-lock .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist

$(CLIENT): clients/js/package-lock.json
	@npm ci --prefix clients/js --loglevel=error

$(SHARP): benchmarks/sharp/package-lock.json
	@npm ci --prefix benchmarks/sharp --loglevel=error

$(PEERS): benchmarks/peers/package-lock.json
	@npm ci --prefix benchmarks/peers --loglevel=error

define new_venv
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later with venv is needed and none was found." \
		"On Debian and Ubuntu: sudo apt-get install python3.11-venv; or name one: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is too old: Python 3.11 or later is needed (name another: make run PYTHON=...)." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) lacks venv: sudo apt-get install python3-venv, then try again." >&2; exit 1; }
	@$(PYTHON) -m venv $(1)
endef

$(DEV):
	$(call new_venv,.venv)
	@echo "Installing what make run needs from requirements/dev.txt into .venv ..."
	@$(BIN)/python $(INSTALL) requirements/dev.txt
	@touch $@

$(TEST):
	$(call new_venv,.venv)
	@echo "Installing what make test needs from requirements/test.txt into .venv ..."
	@$(BIN)/python $(INSTALL) requirements/test.txt
	@touch $@

# Apart, because it is a compiler's runtime that nothing else needs.
$(FUZZ):
	$(call new_venv,.venv-fuzz)
	@echo "Installing what make fuzz needs from requirements/fuzz.txt into .venv-fuzz ..."
	@.venv-fuzz/bin/python $(INSTALL) requirements/fuzz.txt
	@touch $@

# Apart, because it pins its own botocore.
$(MINISTACK):
	$(call new_venv,.venv-ministack)
	@echo "Installing the second S3 server from requirements/ministack.txt into .venv-ministack ..."
	@.venv-ministack/bin/python $(INSTALL) requirements/ministack.txt
	@touch $@

# Apart, because only comparisons need other libraries that decode or search, and one that draws.
$(BENCH):
	$(call new_venv,.venv-bench)
	@echo "Installing what comparisons need from requirements/bench.txt into .venv-bench ..."
	@.venv-bench/bin/python $(INSTALL) requirements/bench.txt
	@touch $@
