# Two commands for users: `make demo` and `make test`. Both need Python 3.11+, git and make, and nothing else.
PYTHON ?= python3
PIP_FLAGS ?= --quiet --disable-pip-version-check
PYTEST_FLAGS ?= -n 2

.PHONY: demo test coverage check format clean

demo: .venv-demo/ready
	.venv-demo/bin/vidbench demo

test: .venv-test/ready
	.venv-test/bin/python -m pytest $(PYTEST_FLAGS)

coverage: .venv-test/ready
	.venv-test/bin/python -m pytest $(PYTEST_FLAGS) --cov --cov-report=term

check: .venv-check/ready
	.venv-check/bin/ruff check .
	.venv-check/bin/ruff format --check .
	.venv-check/bin/mypy -p vidbench -p vidbench_metrics -p vidbench_suites -p vidbench_reports
	.venv-check/bin/mypy tests benchmarks

format: .venv-check/ready
	.venv-check/bin/ruff check --fix .
	.venv-check/bin/ruff format .

# The marker is written last, so that an interrupted install is begun again.
.venv-demo/ready: EXTRAS = models
.venv-test/ready: EXTRAS = all,test
.venv-check/ready: EXTRAS = dev

.venv-%/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "vidbench needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install $(PIP_FLAGS) --upgrade pip
	.venv-$*/bin/python -m pip install $(PIP_FLAGS) --editable '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf .venv-demo .venv-test .venv-check vidbench-demo
