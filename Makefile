# The only commands that CI and the README use. VENV may name another environment.
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: setup demo test check bench claims screenshots format compose-test

setup: $(READY)

# torch goes first and exactly as pinned, so that no other requirement pulls in a larger build.
$(READY): pyproject.toml constraints.txt
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install -q -c constraints.txt $$(grep '^torch==' constraints.txt)
	$(PY) -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(VENV)/bin/dreamfleet demo $(ARGS)

# One more at a time than CI has cores, as many wait for a while; of one thread each. Who is done
# takes over from the others.
test: export OMP_NUM_THREADS := 1
test: export OMP_WAIT_POLICY := PASSIVE
test: setup
	$(PY) -m pytest -n 3 --dist worksteal $(ARGS)

check: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m tests.packaging.size
	$(VENV)/bin/hadolint docker/*.Dockerfile
	docker/check.sh

# As root on Debian, with minutes to spare: builds the images and kills their server.
compose-test: setup
	$(PY) docker/tryout.py $(ARGS)

format: setup
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

screenshots: setup
	$(PY) -m tests.browser.screenshots $(ARGS)

claims: setup
	$(PY) -m benchmarks.claims --report $(ARGS)

bench: setup
	$(PY) -m benchmarks.run $(ARGS)
