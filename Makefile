# make demo   everything the laptop scale shows, from nothing: environment, data, trainings, pages
# make test   the tests; make test-slurm adds those on a real one-node SLURM, make test-browser those
#             of the pages in Chromium (root on Debian)
# make docs   the documentation site, into site/: open site/index.html
# make pictures   those of README and docs that are older than what they show (a test says when one is)
# make bench-gpu   speed of training, losses without waits, precisions and devices, on a GPU; says so where there is none
# make lock   requirements.lock anew after a change of requirements.txt (needs uv); what may stay, stays
# make fuzz   20,000 faults in valid files, others every time, and 20 kills of each command (make test has 2,000 and 2)
PYTHON ?= python3
BIN := .venv/bin
# uv installs several times as fast; pip does the same without it.
PIP := $(if $(shell command -v uv),uv pip install --python $(BIN)/python,$(BIN)/pip install --disable-pip-version-check)
CORES ?= $(shell env -u OMP_NUM_THREADS nproc)
SHAPES := results/shapes
# One thread per training keeps its bytes the same whatever else runs; jobs fill the cores.
export OMP_NUM_THREADS ?= 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test test-slurm test-browser fuzz bench bench-gpu docs pictures lint format install lock clean

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --quiet --require-hashes -r requirements.lock
	$(PIP) --quiet --no-deps --no-build-isolation --editable .
	touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11.7 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --output-file requirements.lock requirements.txt

# One job more than cores: a page waits for its kernel and for files a third of its time.
demo: install
	@begin=$$(date +%s) && snakemake --cores $$(($(CORES) + 1)) demo && seconds=$$(($$(date +%s) - begin)) && \
		echo "Made $$(ls $(SHAPES)/*/*/notebook.html | wc -l) pages of tables and figures, from" \
			"$$(ls $(SHAPES)/runs/*/seed*/model.safetensors | wc -l) trainings" && \
		echo "in $$((seconds / 60)) min $$((seconds % 60)) s" && \
		echo "Open $(SHAPES)/index.html"

test: install
	pytest -n $(CORES) --dist loadgroup -m "not slurm and not browser"

test-slurm: install
	tests/slurm/setup.sh start .slurm-test
	REBALANCE_SLURM=1 pytest -m slurm tests/slurm; status=$$?; tests/slurm/setup.sh stop .slurm-test; exit $$status

test-browser: install
	tests/browser/setup.sh
	REBALANCE_BROWSER=1 pytest -n 2 --dist loadfile -m browser tests/browser

fuzz: install
	REBALANCE_FUZZ=1700 REBALANCE_MOMENTS=20 pytest -n $(CORES) tests/faults --hypothesis-show-statistics

bench: install
	pytest benchmarks --benchmark-only --override-ini testpaths=benchmarks

bench-gpu: install
	python benchmarks/gpu.py

pictures: install
	python docs/pictures.py

docs: install
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict
	@echo "Open site/index.html"

lint: install
	ruff check .
	ruff format --check .
	snakefmt --check workflow
	mypy lib

format: install
	ruff check --fix .
	ruff format .
	snakefmt workflow

clean:
	rm -rf results/shapes logs .snakemake
