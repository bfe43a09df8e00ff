# Everything a newcomer needs; `make help` lists it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := build/tools
EXPERIMENT ?= configs/demo.yaml
export METAFLOW_PYLINT ?= 0

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  variables: EXPERIMENT=configs/catalog.yaml (all that run a flow, app), PYTHON=python3.12, VENV=.venv"

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rayon needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.PHONY: setup
setup: $(STAMP)  ## create the environment and install

.PHONY: preprocess
preprocess: $(STAMP)  ## make a dataset version of a catalogue
	$(BIN)/python flows/preprocess_flow.py --config experiment $(EXPERIMENT) run

.PHONY: train
train: $(STAMP)  ## train on the demo catalogue, or on EXPERIMENT
	$(BIN)/python flows/train_flow.py --config experiment $(EXPERIMENT) run

.PHONY: score
score: $(STAMP)  ## score INPUT=products.csv (IMAGES=folder), or the unseen products
	$(BIN)/python flows/score_flow.py --config experiment $(EXPERIMENT) run $(if $(INPUT),--input $(INPUT)) $(if $(IMAGES),--images $(IMAGES))

.PHONY: app
app: $(STAMP)  ## serve the champion: pages on http://127.0.0.1:7860, JSON API at /api/docs
	$(BIN)/python app/app.py --experiment $(EXPERIMENT)

.PHONY: monitor
monitor: $(STAMP)  ## compare what was scored (WINDOW=7d, or FILE=predictions) with training: ok, watch, retrain
	$(BIN)/python flows/monitor_flow.py --config experiment $(EXPERIMENT) run $(if $(WINDOW),--window $(WINDOW)) $(if $(FILE),--file $(FILE))

.PHONY: feedback
feedback: $(STAMP)  ## turn what people said in the app into data
	$(BIN)/python flows/feedback_flow.py --config experiment $(EXPERIMENT) run

.PHONY: loop
loop: $(STAMP)  ## one pass: feedback, dataset, monitor, training if asked, gate
	$(BIN)/python -m rayon loop -e $(EXPERIMENT)

.PHONY: demo-loop
demo-loop: $(STAMP)  ## watch the whole loop on generated traffic: drift, alarm, labels, retraining, recovery (minutes)
	$(BIN)/python -m rayon demo-loop

.PHONY: deploy
deploy: $(STAMP)  ## deploy all flows to Argo Workflows (EXPERIMENT=configs/production.yaml PRODUCTION=1)
	$(BIN)/python -m rayon deploy -e $(EXPERIMENT) $(if $(PRODUCTION),--production)

.PHONY: deploy-dry
deploy-dry: $(STAMP)  ## print all manifests that deploy would make
	@$(BIN)/python -m rayon deploy --dry -e $(EXPERIMENT) $(if $(PRODUCTION),--production)

.PHONY: models
models: $(STAMP)  ## list the models of EXPERIMENT and which is champion
	$(BIN)/python -m rayon models -e $(EXPERIMENT)

.PHONY: test
test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --no-loadscope-reorder

.PHONY: walkthrough
walkthrough: $(STAMP)  ## follow README.md, command by command, in a copy of the tree (minutes)
	$(BIN)/python -m pytest tests/walkthrough/test_readme.py

.PHONY: lint
lint: $(STAMP)  ## format and lint checks, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMP)  ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: check
check: lint test walkthrough  ## all that CI checks

.PHONY: docs
docs: $(STAMP)  ## build the reference of the library and the guides into build/docs
	rm -rf docs/api/modules
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -d build/doctrees docs build/docs
	@echo "open build/docs/index.html"

.PHONY: bench
bench: $(STAMP)  ## run the benchmarks, tables to tests/benchmarks/results (hours; BENCH="--quick", "--help", "--only quality")
	$(BIN)/python tests/benchmarks/bench.py $(BENCH)

.PHONY: faults
faults: $(STAMP)  ## kill flows, fill disks, cut lines, feed nonsense; what must hold after each is checked (two hours)
	$(BIN)/python tests/faults/run.py $(FAULTS)

REGISTRY ?= rayon
TAG ?= latest

.PHONY: images
images:  ## build the images REGISTRY/{flows-cpu,flows-cuda,app}:TAG (docs/containers.md)
	for target in flows-cpu flows-cuda app; do docker build --target $$target --tag $(REGISTRY)/$$target:$(TAG) . || exit 1; done

$(TOOLS)/.installed: deploy/requirements/tools.txt
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PHONY: lock
lock: $(TOOLS)/.installed  ## pin and hash what the images install, after requirements.txt has changed
	$(PYTHON) deploy/lock.py $(TOOLS)/bin/uv $(UPGRADE)

.PHONY: audit
audit: $(TOOLS)/.installed  ## ask PyPI for known vulnerabilities of what the images install
	$(TOOLS)/bin/python deploy/audit.py

.PHONY: sbom
sbom: $(STAMP) $(TOOLS)/.installed  ## write build/sbom.cdx.json: what the environment holds, as CycloneDX
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.cdx.json $(BIN)/python

.PHONY: clean
clean:  ## remove what can be made again: encoded products, opened shards, tools' caches (not runs, data, the app's store)
	rm -rf .rayon/features .rayon/shards .rayon/wandb-cache .rayon/app-examples .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
