# Two commands on a fresh machine: `make demo` and `make test`. Each makes the environment first if it is missing or
# older than what it is made of.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*))
STAMP := $(VENV)/.made
STAMP_ALL := $(VENV)/.made-with-extras
STAMP_DOCS := $(VENV)/.made-with-docs
PYPROJECTS := pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)

.PHONY: help demo test test-all fuzz soak mutation lint docs dist downstream catalogue gallery newcomer rooms bench clean

help:
	@echo "make demo      the planted-shortcut story on real digits, ends in a report"
	@echo "make test      the test suite"
	@echo "make test-all  the suite with its slow tests, and those of Lightning and Hugging Face"
	@echo "make fuzz      20,000 command lines that nobody should type"
	@echo "make mutation  faults put into the code, and the share that tests notice"
	@echo "make soak      runs that are killed, with a full disk, with damaged files"
	@echo "make lint      format, lint, types, import contracts"
	@echo "make docs      the documentation's site; a warning is an error"
	@echo "make dist      wheels of trimkit and its plugins, in dist/"
	@echo "make downstream  known plugins, each with its own tests, against this checkout"
	@echo "make catalogue the list of known plugins in docs/catalogue.md, from their entry points"
	@echo "make gallery   a picture for every transform and method, docs/_build/gallery.html"
	@echo "make newcomer  how long a newcomer takes, from wheels to a plugin with green tests"
	@echo "make rooms     the picture in docs/rooms.md, from the imports"
	@echo "make bench     every performance claim, as ratios"

$(STAMP): $(PYPROJECTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' $(PLUGINS:%=-e ./%)
	touch $@

$(STAMP_ALL): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,lightning,huggingface]'
	touch $@

$(STAMP_DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

demo: $(STAMP)
	$(BIN)/trimkit demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow"

test-all: $(STAMP_ALL)
	$(BIN)/python -m pytest

fuzz: $(STAMP)
	$(BIN)/python -m pytest tests/test_fuzz.py -m slow

mutation: $(STAMP)
	$(BIN)/python benchmarks/mutation.py --log mutation.jsonl

soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py --log soak.jsonl

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

docs: $(STAMP_DOCS)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist . $(PLUGINS:%=./%)

downstream: $(STAMP)
	$(BIN)/python downstream/run.py

catalogue: $(STAMP)
	$(BIN)/python docs/list_plugins.py

gallery: $(STAMP)
	$(BIN)/python docs/draw_gallery.py

newcomer: $(STAMP)
	$(BIN)/python benchmarks/newcomer.py

rooms: $(STAMP)
	$(BIN)/python docs/draw_rooms.py

bench: $(STAMP)
	$(BIN)/python benchmarks/penalty_step.py
	$(BIN)/python benchmarks/trim_overhead.py
	$(BIN)/python benchmarks/integrated_gradients.py
	$(BIN)/python benchmarks/layer_paths.py
	$(BIN)/python benchmarks/captum_overhead.py
	$(BIN)/python benchmarks/contextual_decomposition.py
	$(BIN)/python benchmarks/contextual_rules.py
	$(BIN)/python benchmarks/wavelet.py
	$(BIN)/python benchmarks/adaptive_wavelet.py
	$(BIN)/python benchmarks/vae_training.py
	$(BIN)/python benchmarks/kl_decomposition.py
	$(BIN)/python benchmarks/disentanglement_metrics.py
	$(BIN)/python benchmarks/stylegan2_step.py
	$(BIN)/python benchmarks/ica.py
	$(BIN)/python benchmarks/sae_step.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/reliance.py
	$(BIN)/python benchmarks/revise.py

clean:
	rm -rf $(VENV)
