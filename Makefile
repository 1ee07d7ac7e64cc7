PYTHON ?= python

.PHONY: check format lint types imports test slow bench bench-gpu lock

check: lint types imports test  ## what continuous integration runs

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

test:
	$(PYTHON) -m pytest

slow:  ## minutes to an hour: the accuracy floors on real radiographs
	$(PYTHON) -m pytest -m slow

bench:  ## a quarter of an hour: each stage beside what people use, the ratios of docs/benchmarks.md
	$(PYTHON) -m pytest -m slow -s tests/benchmarks/test_speed.py

bench-gpu:  ## networks on this device beside a loop as in timm's train.py
	PYTHONPATH=. $(PYTHON) tests/benchmarks/gpu.py --out gpu.json

lock:  ## pinned versions without addresses, for continuous integration
	uv pip compile pyproject.toml --extra all --group dev --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header -o requirements.lock
