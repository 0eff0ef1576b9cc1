# `make demo` and `make test` each work alone in a fresh clone: the environment is made and filled where it is missing.
.PHONY: demo test test-slow app style quality bench env clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
CHECKED := faceanon_hub tests benchmarks examples app.py
# More threads than cores, or two libraries at once, can be ten times slower.
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)

demo: $(VENV)/.installed  ## anonymize the portrait that comes with scikit-image
	mkdir -p outputs
	$(BIN)/python -c 'import PIL.Image, skimage.data as d; PIL.Image.fromarray(d.astronaut()).save("outputs/portrait.png")'
	$(BIN)/faceanon image outputs/portrait.png outputs/anonymized.png --seed 0 --force --preview outputs/before-after.png
	@echo "open outputs/before-after.png"

test: $(VENV)/.installed  ## all tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: $(VENV)/.installed  ## the slow ones: processes that die, full-size photos, time limits
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --numprocesses auto --maxprocesses 4 --dist worksteal

style: $(VENV)/.installed  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

quality: $(VENV)/.installed  ## check style, lint and types
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy

app: $(VENV)/.installed  ## the web demo, on http://127.0.0.1:7860
	$(BIN)/python app.py

bench: $(VENV)/.installed  ## time by stage, beside the reference where it is at hand
	$(BIN)/python -m benchmarks.speed

env: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	# torch first and pinned: an open range brings a CUDA build of several gigabytes
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) outputs build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
