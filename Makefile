# The doors: every target sets up what it needs on a fresh Debian 12 machine (as root).
STAP := .venv/bin/stap
PY := .venv/bin/python

.PHONY: setup demo test fuzz fuzz-kernel fuzz-parser bench lint clean

setup: .venv/.ready

.venv/.ready: pyproject.toml tools/setup.sh tools/write_launcher.py
	sh tools/setup.sh
	touch .venv/.ready

demo: setup
	sh tools/demo.sh

# These tests trace machines that do other things at the same time: one that fails is run once
# more, and that is said
test: lint lab-tools
	$(PY) -m pytest -n 2 --reruns 1 -m "not lab" tests
	$(PY) -m pytest -n 2 -m lab tests || \
		{ echo "once more:"; $(PY) -m pytest -n 2 -m lab --last-failed --lfnf=none tests; }

# Only the tests that run on the kernels of the lab; KERNELS="6.1 sid" names others
KERNELS :=
lab: lab-tools
	$(PY) -m pytest -n 2 -m lab --lab-whole $(KERNELS:%=--lab-kernel %) tests

lab-tools: setup
	sh tools/install_lab.sh

# N random programs on every runtime; SEED repeats earlier ones
N := 200
fuzz: setup
	$(PY) -m tests.fuzz $(N) $(SEED)

# N random programs as kernel modules in the lab
fuzz-kernel: lab-tools
	FUZZ_PROGRAMS=$(N) $(if $(SEED),FUZZ_SEED=$(SEED)) \
	$(PY) -m pytest -n 2 -m lab --lab-seconds $$((1800 + $(N) * 10)) tests/kmod/test_fuzz.py

# N damaged scripts through the front end; with COVERAGE=1 guided by what they reach
fuzz-parser: setup
	$(if $(COVERAGE),$(PY) -m pip install -q -e '.[fuzz]')
	$(PY) -m tests.fuzz_parser $(if $(COVERAGE),--coverage) $(N) $(SEED)

# staprun as one file, for machines that have Python 3.11 and nothing else of this
staprun.pyz: $(wildcard src/pystap/staprun/*.py) tools/make_staprun.py
	python3 tools/make_staprun.py $@

bench: setup
	sh tools/install_peers.sh
	$(PY) -m bench

# Probes on kernel functions, and modules, in the lab; KERNELS="6.1 sid" names other kernels
bench-lab: lab-tools
	$(PY) -m bench.lab $(KERNELS)

lint: setup
	$(PY) -m ruff check src tests tools bench
	$(PY) -m ruff format --check src tests tools bench
	$(PY) -m mypy
	MYPYPATH=src:tests $(PY) -m mypy -p lab
	$(PY) -m mypy bench

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
