# Every target is a line or two you could have typed.  PYTHON is used only to make the environment.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slurm lint types format docs docs-test prove dist rules bench scaling campaign clean

help:  ## this list
	@sed -n 's/^\([a-z%-]*\):.*##  *\(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sed 's/%/PACKAGE/' | expand -t 16

venv: .venv/ready  ## the environment: exact versions, the commands, compiled kernels

.venv/ready: requirements.lock setup.cfg pyproject.toml
	[ -x $(BIN)/python ] || $(PYTHON) -m venv "$$($(PYTHON) -c 'import os; print(os.path.realpath(".venv"))')"  # venv refuses a link
	$(PIP) -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	$(BIN)/python -m fansr.warm
	touch .venv/ready

demo: venv  ## the laws of the tables in data/
	@bin/demo

test: venv  ## every test but the slow proofs, on two cores
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope

test-%: venv  ## the tests of one package, as in test-search; also test-bench
	$(BIN)/python -m pytest tests/$*

test-slurm: venv  ## the cluster recipes on a Slurm of two nodes on this machine (apt-get install slurm-wlm munge): minutes
	$(BIN)/python -m pytest tests/slurm -m slurm -s

lint: venv types  ## ruff's checks and format, and the types
	$(BIN)/ruff check fansr tests bench docs/tools bin/launch
	$(BIN)/ruff format --check fansr tests bench docs/tools bin/launch

types: venv  ## mypy over the public interfaces
	$(BIN)/mypy

format: venv  ## put the code into ruff's format
	$(BIN)/ruff check --fix fansr tests bench docs/tools bin/launch
	$(BIN)/ruff format fansr tests bench docs/tools bin/launch

docs: .venv/docs-ready  ## the site of docs/ in out/site/, with commands, gallery and notebooks run anew
	$(BIN)/python docs/tools/make_pages.py out/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

docs-test: .venv/docs-ready  ## every block, notebook, gallery table and link of the documentation
	$(BIN)/python -m pytest -m "docs or not docs" tests/docs

.venv/docs-ready: .venv/ready docs/requirements.lock
	$(PIP) -r docs/requirements.lock
	touch .venv/docs-ready

prove: venv  ## the slow proofs that a release runs
	$(BIN)/python -m pytest -m prove

dist: venv  ## dist/: what is uploaded, a source archive and a wheel made from it
	rm -rf dist
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')"
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist dist/*.tar.gz

rules: venv  ## mine rules/ again
	$(BIN)/fansr-mine --config rules/mine.yaml --out rules/

bench: venv  ## a slice of the measurements in docs/benchmarks/
	bin/bench

scaling: venv  ## the scaling study: less than an hour of one core; goes on when called again
	bin/scaling

campaign: venv  ## go on with training the shipped model
	bin/campaign

clean:  ## remove what was built, the environment too
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find fansr tests bench -name __pycache__ -prune -exec rm -rf {} +
