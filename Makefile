.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format docs clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## make .venv and install mlpexp with its pinned requirements

$(STAMP): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable '.[dev,data]'
	@touch $@

demo: setup ## the study of vanishing gradients: train 820 networks, draw the figure, judge the claims
	@$(BIN)/mlpexp study vanishing_gradients

test: setup ## lint, types and tests
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 2

lint: setup ## ruff, mypy and the arrows between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff write the code its way
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## pages of every module, from their docstrings, into outputs/docs
	@$(BIN)/python -m mlpexp.pages outputs/docs

clean: ## remove the environment and caches; outputs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
