# The commands of this repository; CI calls these and nothing else. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON := .venv/bin/python
# CDK's JavaScript complains about Node 20 at every start; it works.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: ## install what the other commands need, into .venv and node_modules
	@tools/setup

demo: setup ## an emulated organization, Pare deployed in it, a finding taken to a proposed policy, an inventory (TRAIL=DIR: your CloudTrail)
	@.venv/bin/pare local demo $(if $(TRAIL),--trail "$(TRAIL)")

demo-down: ## stop the emulated organization
	@if [ -x .venv/bin/pare ]; then .venv/bin/pare local down; else echo "Nothing is set up here."; fi

test: setup check test-fast test-browser test-local ## every check and every test

check: setup ## lint, types, layers, docs
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@$(PYTHON) -m pytest -q tests/unit/test_layers.py tests/unit/test_docs.py

test-fast: setup ## unit, handler and infrastructure tests, no emulator
	@$(PYTHON) -m pytest -q -n 2 tests/unit tests/handlers tests/infra tests/org/test_aws_cli.py

test-browser: setup ## the monthly report in a real Chromium; skipped, loudly, where there is none
	@$(PYTHON) -m pytest -q tests/browser

test-local: setup ## the deployed app on the emulator, in two emulated organizations side by side
	@$(PYTHON) -m pytest -q -n 2 tests/local

test-org: setup ## a deployed organization broken in every way, one at a time: named by `pare doctor`, mended as it prints
	@$(PYTHON) -m pytest -q -s tests/org

test-scale: setup ## the inventory of 50 accounts x 200 roles, throttled and failing, on the emulator
	@PARE_SCALE=50x200 $(PYTHON) -m pytest -q -s tests/local/deployed/test_inventory_scale.py

test-load: setup ## 5,000 findings over 20 accounts and 4 Regions, told once whatever fails, on the emulator
	@PARE_FINDINGS=5000 PARE_MORE_REGIONS=ap-northeast-1 $(PYTHON) -m pytest -q -s tests/local/deployed/test_findings_load.py

synth: setup ## the CloudFormation templates, into cdk.out
	@npx cdk synth --quiet

data: setup ## compile the data tables of pare/data from their pinned sources
	@$(PYTHON) -m tools.compile_catalogue
	@$(PYTHON) -m tools.compile_resources types
	@$(PYTHON) -m tools.compile_operations
	@$(PYTHON) -m tools.compile_observability
	@$(PYTHON) -m tools.compile_resources

bench: setup ## measure the reading of logs (BENCH=--full: on 1 GB)
	@$(PYTHON) -m bench.activity $(BENCH)

lock: setup ## resolve the dependencies of pyproject.toml into requirements*.txt
	@tools/lock

.PHONY: help setup demo demo-down test check test-fast test-browser test-local test-org test-scale test-load synth data bench lock
