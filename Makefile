PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO_CACHE := .demo-cache
DEMO_EXPORT := runs/demo-export
# Most of a test's work keeps one core busy. A file stays whole, since its fixtures are slow to make.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo test check format-check lint types test-fast test-slow bench-quick docs pictures format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) ## make .venv with the program and the tools to work on it

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $@

demo: install ## search, show, export and predict on scikit-learn's digits: offline, on a CPU
	$(BIN)/tune search --run demo --overwrite --weights none --image-size 32 --max-epochs 3 \
		--cache-dir $(DEMO_CACHE)
	$(BIN)/tune trials demo
	rm -rf $(DEMO_EXPORT)
	$(BIN)/tune best demo --cache-dir $(DEMO_CACHE) --export $(DEMO_EXPORT)
	set -- $(DEMO_CACHE)/digits/3/*.png && \
		$(BIN)/tune predict $(DEMO_EXPORT) "$$1" "$$2" "$$3"

test: check ## the same as check

check: format-check lint types test-fast ## format, lint, types and every test that is not slow

format-check: install
	$(BIN)/ruff format --check .

lint: install
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

test-fast: install
	$(PYTEST)

test-slow: install ## only the tests that are marked slow
	$(PYTEST) -m slow --durations=10 || test $$? -eq 5  # 5: there are none

bench-quick: install ## shortened benchmarks against the recorded ratios, under 5 minutes
	$(BIN)/python benchmarks/quick.py

docs: install ## make the pages of docs/commands from the help of the commands
	$(BIN)/python docs/commands.py

pictures: install ## draw the pictures of the README: make pictures DATA=FOLDER WEIGHTS=FILE
	$(BIN)/python docs/pictures.py "$(DATA)" --weights "$(WEIGHTS)"

format: install ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what make wrote; of runs/ only the demo
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	rm -rf $(DEMO_CACHE) $(DEMO_EXPORT) runs/demo
	find tuner search_spaces tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
