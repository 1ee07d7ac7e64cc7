PYTHON ?= python

.PHONY: check format lint types imports docs tutorial pictures test slow faults bench bench-gpu lock audit sbom

check: lint types imports docs test  ## what continuous integration runs

format:
	ruff format .
	ruff check --fix .

lint:
	ruff format --check .
	ruff check .

types:
	pyright

imports:
	lint-imports

docs:  ## the documentation as a site that opens without a network: build/docs/index.html
	uv run --extra all --group docs sphinx-build --quiet --fail-on-warning --keep-going --doctree-dir build/doctrees docs build/docs

tutorial:  ## runs the commands of docs/tutorial.md again and puts their output below them
	$(PYTHON) docs/execute.py docs/tutorial.md

pictures:  ## docs/images that come from the code alone: the phantoms and the top of a report
	$(PYTHON) docs/pictures.py docs/images

test:
	$(PYTHON) -m pytest -n 2 --dist worksteal

slow:  ## minutes to an hour: the accuracy floors on real radiographs
	$(PYTHON) -m pytest -m slow

faults:  ## an hour: every operation of a run on a faulty disk, 100 kills, 200 damages, ten minutes of fuzzing
	$(PYTHON) -m pytest -m slow -s tests/faults

bench:  ## a quarter of an hour: each stage beside what people use, the ratios of docs/benchmarks.md
	$(PYTHON) -m pytest -m slow -s tests/benchmarks/test_speed.py

bench-gpu:  ## networks on this device beside a loop as in timm's train.py
	PYTHONPATH=. $(PYTHON) tests/benchmarks/gpu.py --out gpu.json

COMPILE = uv pip compile --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header
LOCK = $(COMPILE) pyproject.toml --extra all --extra backbones --extra mlflow --extra openvino

lock:  ## pinned versions without addresses: for development, of these the ones that a run needs, and beside them those of the site
	$(LOCK) --group dev -o requirements.lock
	$(LOCK) --constraint requirements.lock -o requirements-run.lock
	$(COMPILE) --group docs --constraint requirements.lock -o requirements-docs.lock

audit:  ## known vulnerabilities of the pinned packages; asks the package index
	uvx pip-audit --requirement requirements.lock --no-deps --disable-pip

sbom:  ## what a release is made of, as CycloneDX
	uvx --from cyclonedx-bom cyclonedx-py requirements requirements-run.lock --output-file sbom.json
