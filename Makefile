# The commands of CONTRIBUTING.md. PYTHON is an interpreter with the package and its [dev] extra.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
CPP = $(shell git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cuh')

.PHONY: check ruff clang-format types sizes layers links whitespace test bench smoke rehearse import-time docs snippets dist

check: ruff clang-format types sizes layers links whitespace    ## everything that is looked at without running the code

ruff:
	$(PYTHON) -m ruff check .

clang-format:
	if [ -f .clang-format ]; then $(PYTHON) -c 'import clang_format; clang_format.clang_format()' --dry-run --Werror $(CPP); fi

types:
	$(PYTHON) -m mypy

sizes:
	$(PYTHON) .ci/sizes.py

layers:
	$(PYTHON) .ci/layers.py

links:
	$(PYTHON) .ci/links.py

whitespace:
	! git grep -nIE '[[:space:]]+$$' -- ':!*.patch'

test:                ## the tests that need no GPU, then the Triton kernels in their interpreter
	$(PYTHON) -m pytest
	TRITON_INTERPRET=1 $(PYTHON) -m pytest tests/triton_interpreter

bench:               ## measures on this machine and puts the tables into docs/speed.md and README.md; about ten minutes
	$(PYTHON) bench/cpu.py
	$(PYTHON) bench/report.py
	$(PYTHON) bench/call_overhead.py
	$(PYTHON) bench/import_time.py

smoke: rehearse      ## every benchmark on tiny sizes, minutes
	$(PYTHON) bench/cpu.py --smoke
	$(PYTHON) -m pytest bench --benchmark-disable
	$(PYTHON) bench/gpu.py --plan
	$(PYTHON) bench/launch_time.py --smoke
	$(PYTHON) bench/call_overhead.py --smoke
	$(PYTHON) bench/models/ltd_studies.py --smoke
	$(PYTHON) bench/examples.py --smoke

rehearse:            ## the command for a machine with a GPU, on the CPU, with faults that it has to find
	$(PYTHON) bench/gpu.py --rehearse

import-time:
	$(PYTHON) bench/import_time.py

docs: links          ## the site, from docs/ into site/, without network; then its links, anchors and where it loads from
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict
	$(PYTHON) .ci/site.py site --names

snippets: links      ## every example on a page or in a docstring, every command on a page
	$(PYTHON) -m pytest tests/test_docstrings.py tests/test_docs_snippets.py tests/test_environment.py

dist:                ## sdist, and a wheel built from it
	rm -rf dist
	$(PYTHON) -m build
	$(PYTHON) -m twine check --strict dist/*
