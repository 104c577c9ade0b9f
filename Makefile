# make demo    set up, then run the main job on a capture that is rendered here
# make test    set up, then lint, types and tests
# Everything lives in .venv and in the user's cache; nothing else is installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo_out

export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: demo test setup lint check clean

demo: setup
	$(BIN)/handgen demo $(DEMO)

test: setup lint check

setup: $(VENV)/.ready networks

# torch first and by itself: that takes the CPU build where one is offered.
$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and "handgen needs Python 3.11 to 3.13; this is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# Other projects' readers of exports that need numpy 1; where it cannot be had, their tests are skipped.
$(VENV)/numpy1/.ready: $(VENV)/.ready
	-$(PYTHON) -m venv $(VENV)/numpy1 && $(VENV)/numpy1/bin/pip install --quiet 'numpy<2' 'xtcocotools>=1.14,<2' \
	  'webdataset>=0.2.100,<2' && touch $@

.PHONY: networks
networks: $(VENV)/.ready
	$(BIN)/handgen models fetch

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: $(VENV)/.ready $(VENV)/numpy1/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

clean:
	rm -rf $(VENV) $(DEMO)
