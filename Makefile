# make demo: molecular dynamics of ethanol with a shipped model, with a plot
# make test: style, types and the quick tests; make test-all: the slow ones too
# make cards: models/*.md and the table of models in README.md, from the model files; make figures: docs/*.png and docs/figures
# make docs: the documentation, into site/

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCUMENTED := $(VENV)/.documented
TORCH := $(shell grep '^torch==' constraints.txt)
WORKERS ?= 2
# One thread for each test process: two processes with two threads each would wait for each other on two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS)

.PHONY: demo test test-all lint format cards figures docs notebooks clean install

install: $(INSTALLED)

# torch is asked for first and exactly: a plain CPU build at hand is then taken before a larger one is looked for.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,plot,reference,dev]"
	$(BIN)/python -m pip install --quiet -c constraints.txt --only-binary dftd3 -e ".[dispersion]" \
		|| echo "dftd3 has no wheel for this machine: --dispersion and its tests are left out"
	touch $@

demo: $(INSTALLED)
	mkdir -p demo
	$(BIN)/nbody md CH3CH2OH --model organic --temperature 300 --timestep 0.5 --steps 1000 --output demo/ethanol.traj --force

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(PYTEST) -m "not slow"

test-all: lint
	$(PYTEST)

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

cards: $(INSTALLED)
	set -e; for file in models/*.safetensors; do \
	  $(BIN)/nbody info $$file --markdown > $${file%.safetensors}.md.new; \
	  mv $${file%.safetensors}.md.new $${file%.safetensors}.md; \
	done
	$(BIN)/nbody models --markdown > README.table
	sed -e '/<!-- models:begin -->/r README.table' -e '/<!-- models:begin -->/,/<!-- models:end -->/{/<!-- models:/!d;}' \
	  README.md > README.new
	mv README.new README.md
	rm README.table

figures: $(INSTALLED)
	set -e; for name in composition_scheme level contraction layers dataflow broken_bond dynamics; do \
	  $(BIN)/python benchmarks/figures/$$name.py; \
	done

$(DOCUMENTED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

docs: $(DOCUMENTED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

notebooks: $(DOCUMENTED)
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace docs/notebooks/*.ipynb

clean:
	rm -rf demo site build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
