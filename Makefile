# Every target does its own set-up, so each is one command on a fresh clone.

PYTHON ?= python3
IMAGES ?= build/sample
WEIGHTS ?= embedded
OUTPUT ?= results
# Of the model, where the weights are not the embedded ones: ALPHA=1.0 SIZE=224.
MODEL = build/model/$(notdir $(WEIGHTS))$(if $(ALPHA),-$(ALPHA))$(if $(SIZE),-$(SIZE))

# Of the stack: SET="-c region=eu-west-1 -c schedule=03:30"; what shall last belongs into the context of cdk.json.
SET ?=

# Node 20 works, though its time is over, which the CDK says at length on each call.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION = 20

VENV = .venv/bin/python
CDK = node_modules/.bin/cdk
PIP = $(VENV) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore

.PHONY: help setup run-local serve test test-fast bench rehearse lint lock package synth diff bootstrap deploy destroy clean
.DELETE_ON_ERROR:

help:
	@echo "make run-local   the whole job on an included sample; results in results/"
	@echo "                 IMAGES=folder WEIGHTS=imagenet|file.h5 ALPHA=1.0 SIZE=224 COMPONENTS=50 OUTPUT=folder ARGS='--limit 100'"
	@echo "make serve       a page that names photos, from the results in OUTPUT; ARGS='--port 8080'"
	@echo "make setup       everything that development needs, in .venv"
	@echo "make test        every test that needs no account"
	@echo "make test-fast   the tests of a minute: no Spark, TensorFlow, Node, browser or server"
	@echo "make bench       how fast it is, with machine and bounds, in build/bench; BENCH='features listing' for some of it"
	@echo "make rehearse    AWS played on this machine, from cdk deploy to results in the bucket; ALL=1: each right in turn"
	@echo "                 TARGET=cluster for EMR on EC2"
	@echo "make lint        ruff and mypy"
	@echo "make docs        the documentation site, in build/docs; make docs-generate: its pages that come from the code"
	@echo "make package     what the cloud runs, in dist/; WEIGHTS=imagenet (the default here) or embedded, ALPHA, SIZE"
	@echo "make bootstrap   once for each AWS account and region: CDK's own bucket and roles"
	@echo "make deploy      the stack in AWS; SET='-c region=eu-west-1' for its settings, AWS_PROFILE for the account"
	@echo "make destroy     the stack away again; buckets with data stay"
	@echo "make lock        pin what the job imports on EMR anew, after a change of requirements-job.txt"
	@echo "make clean       delete what was built: build/ and dist/, not .venv or results"

# What a run needs is little; TensorFlow comes with the rest, for building models from other weights. The command
# `fruits` is made by hand: installed as editable, the package would be importable by Spark's workers, to which it has
# to be shipped.
.venv/run: requirements-run.txt requirements-job.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "Python 3.11 or newer is needed and $(PYTHON) is older; name another: make PYTHON=python3.11 …" >&2; exit 2; }
	@echo "Setting up .venv, once."
	@test -x $(VENV) || $(PYTHON) -m venv .venv
	@$(PIP) -r requirements-run.txt
	@printf '#!%s\nimport sys\n\nsys.path.insert(0, "%s")\nfrom fruits.__main__ import main\n\nsys.exit(main())\n' \
	  "$(CURDIR)/$(VENV)" "$(CURDIR)" > .venv/bin/fruits
	@chmod +x .venv/bin/fruits
	@touch $@

.venv/all: requirements.txt .venv/run
	@echo "Adding TensorFlow and the tools of development to .venv, once."
	@$(PIP) -r requirements.txt
	@touch $@

# The cdk command, in the version of package-lock.json, and what the tests of permissions need.
node_modules/.ready: package.json package-lock.json
	@npm ci --silent --no-audit --no-fund
	@touch $@

NODE_MISSING = Node.js was not found: cdk needs it (Node 22 or 24; 20 works): https://nodejs.org

.PHONY: node
node:
	@command -v npm >/dev/null || { echo "$(NODE_MISSING)" >&2; exit 2; }

setup: .venv/all
	@$(VENV) -m bootstrap.java
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory node_modules/.ready; \
	  else echo "$(NODE_MISSING). All but the cloud works without."; fi

run-local: $(if $(filter embedded,$(WEIGHTS)),.venv/run,.venv/all)
	@$(VENV) -m bootstrap.java
	@$(if $(filter build/sample,$(IMAGES)),$(VENV) -m bootstrap.sample --output build/sample)
	@$(VENV) -m bootstrap.model --weights "$(WEIGHTS)" $(if $(ALPHA),--alpha $(ALPHA)) $(if $(SIZE),--input-size $(SIZE)) \
	  --output "$(MODEL)"
	@$(VENV) -m job run --images "$(IMAGES)" --model "$(MODEL)" --output "$(OUTPUT)" \
	  $(if $(COMPONENTS),--components $(COMPONENTS)) $(ARGS)

# What a run needs, and a web framework.
.venv/lookup: requirements-lookup.txt .venv/run
	@$(PIP) -r requirements-lookup.txt
	@touch $@

serve: .venv/lookup
	@$(VENV) -m lookup serve --output "$(OUTPUT)" $(ARGS)

# Two files at a time, the slow ones first. A worker that dies ends the run: beside one that took its place, xdist waits
# for ever. A test that hangs says where after 20 minutes.
test: setup
	@$(VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0 --timeout 1200

# What a run needs, and pytest: no Spark is started, and nothing else of requirements.txt is imported.
.venv/fast: requirements.txt .venv/run
	@$(PIP) "$$(grep '^pytest==' requirements.txt)"
	@touch $@

test-fast: .venv/fast
	@$(VENV) -m pytest --fast -q $(ARGS)

# Spark's, Ray's and Daft's ways of doing the same, which need other versions than the job does.
RIVALS = .venv-bench/bin/python
.venv-bench/all: requirements-bench.txt
	@echo "Setting up .venv-bench, once: what the job is measured against."
	@test -x $(RIVALS) || $(PYTHON) -m venv .venv-bench
	@$(RIVALS) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore -r requirements-bench.txt
	@touch $@

# BENCH="features listing": only these.
bench: .venv/all .venv-bench/all
	@$(VENV) -m bootstrap.java
	@$(VENV) -m benchmarks $(BENCH)

# The model is the embedded one, unless the environment or the command line says otherwise.
rehearse: node | .venv/all node_modules/.ready
	@$(VENV) -m bootstrap.java
	@$(VENV) -m tests.rehearsal $(if $(TARGET),--target $(TARGET)) $(if $(ALL),--all)

lint: .venv/all
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy

.venv/docs: requirements-docs.txt .venv/run
	@$(PIP) -r requirements-docs.txt
	@touch $@

# Warnings are errors, and every link and anchor of the site must lead somewhere.
.PHONY: docs docs-generate
docs: .venv/docs
	@$(VENV) -m sphinx -W -n --keep-going -q -b html -d build/doctrees docs build/docs
	@$(VENV) -m docs.links build/docs
	@echo "file://$(CURDIR)/build/docs/index.html"

docs-generate: .venv/all
	@$(VENV) -m docs.generate

# Here WEIGHTS, ALPHA and SIZE are the cloud's: imagenet, 1.0 and 224 where they are not given.
package: .venv/all
	@$(VENV) -m bootstrap.package

synth diff bootstrap deploy destroy: node | .venv/all node_modules/.ready
	@$(CDK) $@ $(SET)

# Without backports-strenum, which only LiteRT's tools for vendors import, and of which pip refuses what uv takes.
LOCK = .venv/bin/uv pip compile - --quiet --python-version 3.11 --only-binary :all: --generate-hashes --no-annotate \
  --no-emit-package backports-strenum --custom-compile-command "make lock (what bootstrap.package puts into the archive)"
lock: .venv/all
	@$(LOCK) --python-platform x86_64-manylinux_2_34 --output-file bootstrap/wheels/x86_64.txt < requirements-job.txt
	@# Later wheels for aarch64 need a newer libstdc++ than Amazon Linux 2023 came with.
	@sed 's/^ai-edge-litert==.*/ai-edge-litert==2.1.0/' requirements-job.txt | \
	  $(LOCK) --python-platform aarch64-manylinux_2_34 --output-file bootstrap/wheels/arm64.txt

clean:
	rm -rf build dist cdk.out
