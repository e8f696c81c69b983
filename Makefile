# What people run; each target ends in 0 or says why not.
.DEFAULT_GOAL := help
.PHONY: help install demo test lint unit cluster real-engine bench docs clean

ENGINE ?= sim
PYTEST = .venv/bin/python -m pytest

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: ## make .venv with npuctl in it
	@tools/install

demo: install ## show the main job on a sandbox of two nodes (ENGINE=cpu: the real vLLM)
	@tools/demo $(ENGINE)

test: install ## run every test and the linters
	@tools/run-tests

lint: install ## linters and types
	@tools/lint

unit: install ## tests that need no node
	$(PYTEST) -n 2 -m 'not cluster'

cluster: install ## tests on sandbox nodes
	@tools/ensure-docker
	$(PYTEST) -n 2 -m 'cluster and not real_engine'

real-engine: install ## the same with the real vLLM for CPU
	@tools/ensure-docker
	$(PYTEST) -m real_engine

bench: install ## measure against pyinfra and ordinary Ansible tasks; writes docs/benchmarks.md
	@tools/ensure-docker
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	.venv/bin/python -m benchmarks
	.venv/bin/python -m benchmarks.look

docs: install ## write the generated pages of docs/reference anew
	.venv/bin/python -m tools.generate_docs

clean: ## remove the sandbox, its images and .venv
	-.venv/bin/npuctl sandbox down --all --purge
	rm -rf .venv
