# Everything a person or a machine runs here. `make` alone explains it.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv/bin/python
LOCKS := requirements requirements-archive requirements-local requirements-dev
# The whole suite runs in two halves at once, each on servers of its own; what is asked for with ARGS runs in one.
HALVES := -n 2 --dist worksteal
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help up down status demo test bench bench-scale soak crash lint lock clean local dev

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 - /p' Makefile

up: local ## Start everything on this machine and wait until it is well
	@$(VENV) -m finops_project.local up

down: ## Stop everything; the data stays in .run/
	@if [ -x $(VENV) ]; then $(VENV) -m finops_project.local down; else echo "Nothing is running: .venv does not exist."; fi

status: local ## Show which processes run, and where
	@$(VENV) -m finops_project.local status || true

demo: up ## Start everything and do the main job; TRACE=file uses your own input
	@$(VENV) -m examples.demo $(if $(TRACE),--trace "$(TRACE)") $(ARGS)

test: dev ## Run the whole test suite on its own throw-away servers
	@env -u DJANGO_SETTINGS_MODULE $(VENV) -m pytest $(if $(ARGS),$(ARGS),$(HALVES))

bench: dev ## Run the benchmarks
	@$(VENV) -m bench $(ARGS)

bench-scale: dev ## The same with one, five and ten million lines in the ledger, and their curves
	@$(VENV) -m bench.scale $(ARGS)

soak: dev ## Half an hour of steady load: memory, processors, connections, answers
	@$(VENV) -m bench.soak $(ARGS)

crash: dev ## Kill workers 20 times while 20,000 events come in; count what is lost or doubled
	@$(VENV) -m tests.end_to_end $(ARGS)

# The production check needs settings that exist nowhere else: they protect nothing.
lint: dev ## Check style, types, imports, migrations and production settings
	@echo "lint: ruff"; $(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@echo "lint: types"; $(VENV) -m mypy
	@echo "lint: imports"; $(VENV) .venv/bin/lint-imports
	@echo "lint: migrations"; $(VENV) -W "ignore:Got an error checking a consistent migration history" manage.py makemigrations --check --dry-run
	@echo "lint: production settings"; FINOPS_ENV=production DJANGO_ALLOWED_HOSTS=finops.example \
		DJANGO_SECRET_KEY="$$($(VENV) -c 'import secrets; print(secrets.token_urlsafe(60))')" \
		FINOPS_METRICS_TOKEN=lint $(VENV) manage.py check --deploy --fail-level WARNING

lock: dev ## Pin the newest versions that requirements*.in allow, with hashes
	@for name in $(LOCKS); do echo "lock: $$name.txt"; $(VENV) -m uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --upgrade $$name.in --output-file $$name.txt || exit 1; done

clean: down ## Stop everything and remove .venv, caches and ALL DATA in .run/
	@rm -rf .venv .run staticfiles .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

local:
	@PYTHON="$(PYTHON)" sh finops_project/local/install.sh requirements-local.txt

dev:
	@PYTHON="$(PYTHON)" sh finops_project/local/install.sh requirements-dev.txt
