# Every target first completes .venv; where it is complete that costs a few milliseconds.
bin := .venv/bin
# pyright would otherwise ask the network at each run whether it has a successor.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help env demo check test slow smoke clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

env:  ## install everything into .venv
	@scripts/environment.sh

demo: env  ## train with four workers on the digits data
	$(bin)/layup train --config=configs/digits_layup.py --workers=4 --config.name=demo --overwrite

check: env  ## format, lint and types
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/pyright

test: check  ## check, then the fast tests, several at a time
	$(bin)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

slow: env  ## the slow tests
	$(bin)/python -m pytest -m slow --timeout=900

smoke: env  ## every experiment, small; results are thrown away
	$(bin)/python -m experiments.reproduce_all --smoke

clean:  ## remove caches and build output; .venv and runs/ stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
