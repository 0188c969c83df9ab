# Every target is a line or two you could have typed. PYTHON is used only to make the environment.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: venv demo test lint rules bench campaign clean

venv: .venv/ready

.venv/ready: requirements.lock setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	$(BIN)/python -m fansr.warm
	touch .venv/ready

demo: venv
	@bin/demo

test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check fansr tests bench

rules: venv
	$(BIN)/fansr-mine --config rules/mine.yaml --out rules/

bench: venv
	bin/bench

campaign: venv
	bin/campaign

clean:
	rm -rf .venv build *.egg-info
