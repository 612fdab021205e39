# Every target does its own set-up, so each is one command on a fresh clone.

PYTHON ?= python3
IMAGES ?= build/sample
WEIGHTS ?= embedded
OUTPUT ?= results
# Of the model, where the weights are not the embedded ones: ALPHA=1.0 SIZE=224.
MODEL = build/model/$(notdir $(WEIGHTS))$(if $(ALPHA),-$(ALPHA))$(if $(SIZE),-$(SIZE))

VENV = .venv/bin/python
PIP = $(VENV) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore

.PHONY: help setup run-local test lint clean
.DELETE_ON_ERROR:

help:
	@echo "make run-local   the whole job on an included sample; results in results/"
	@echo "                 IMAGES=folder WEIGHTS=imagenet|file.h5 ALPHA=1.0 SIZE=224 COMPONENTS=50 OUTPUT=folder ARGS='--limit 100'"
	@echo "make setup       everything that development needs, in .venv"
	@echo "make test        every test that needs no account"
	@echo "make lint        ruff and mypy"
	@echo "make clean       delete what was built: build/ and dist/, not .venv or results"

# What a run needs is little; TensorFlow comes with the rest, for building models from other weights.
.venv/run: requirements-run.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "Python 3.11 or newer is needed and $(PYTHON) is older; name another: make PYTHON=python3.11 …" >&2; exit 2; }
	@echo "Setting up .venv, once."
	@test -x $(VENV) || $(PYTHON) -m venv .venv
	@$(PIP) -r requirements-run.txt
	@touch $@

.venv/all: requirements.txt .venv/run
	@echo "Adding TensorFlow and the tools of development to .venv, once."
	@$(PIP) -r requirements.txt
	@touch $@

setup: .venv/all
	@$(VENV) -m bootstrap.java
	@command -v node >/dev/null || echo "Node.js was not found: it is needed only for cdk (Node 22 or 24; 20 works)."

run-local: $(if $(filter embedded,$(WEIGHTS)),.venv/run,.venv/all)
	@$(VENV) -m bootstrap.java
	@$(if $(filter build/sample,$(IMAGES)),$(VENV) -m bootstrap.sample --output build/sample)
	@$(VENV) -m bootstrap.model --weights "$(WEIGHTS)" $(if $(ALPHA),--alpha $(ALPHA)) $(if $(SIZE),--input-size $(SIZE)) \
	  --output "$(MODEL)"
	@$(VENV) -m job run --images "$(IMAGES)" --model "$(MODEL)" --output "$(OUTPUT)" \
	  $(if $(COMPONENTS),--components $(COMPONENTS)) $(ARGS)

test: setup
	@$(VENV) -m pytest

lint: .venv/all
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy

clean:
	rm -rf build dist
