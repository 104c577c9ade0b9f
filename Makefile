# make demo    set up, then run the main job on a capture that is rendered here
# make test    set up, then lint, types and tests
# make lock    resolve pyproject.toml again into requirements.lock, for Python 3.11 to 3.13 on Linux and macOS
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

# torch first and by itself: that takes the CPU build where one is offered. All else as requirements.lock says.
$(VENV)/.ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 14) and "handgen needs Python 3.11 to 3.13; this is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

# What torch's CUDA builds bring along on Linux stays out of the lock: the CPU build asks for none of it.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime \
	nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 \
	nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx triton
LOCK := pip compile pyproject.toml --extra dev --universal --python-version 3.11 --constraint constraints.txt \
	--custom-compile-command "make lock" --output-file requirements.lock

.PHONY: lock
lock: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'
	$(BIN)/uv $(LOCK) --no-emit-package torch $(addprefix --no-emit-package ,$(CUDA))

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
