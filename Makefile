# Everything sets itself up; what is set up already costs nothing. PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
SETUP = $(PYTHON) tools/setup.py
WHEEL = RTBRIDGE_WHEEL="$$(echo $(CURDIR)/build/wheel/*.whl)"
ARGS ?=
# Most tests wait for servers, so more run at once than there are cores. Whoever asks for some gets them one by one.
PARALLEL ?= $(if $(ARGS),0,4)

.PHONY: help demo demo-flask test test-slow lint docs bench bench-quick bench-full bench-check dev clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 14

demo:            ## the Django photo site; PORT=8000 chooses where
	@$(SETUP) demo
	@.venv/bin/python examples/django_demo/run.py

demo-flask:      ## the Flask auction
	@$(SETUP) demo
	@.venv/bin/python examples/flask_demo/run.py

test:            ## every fast test, against the built wheel; ARGS="-k word" asks pytest for some
	@$(SETUP) system test node
	@status=0; $(if $(ARGS),,tools/npm.sh test || status=1;) $(WHEEL) .venv/bin/pytest -n $(PARALLEL) --dist loadfile $(ARGS) || status=1; exit $$status

test-slow:       ## chaos, simulations, browsers
	@$(SETUP) system test node
	$(WHEEL) .venv/bin/pytest -m "slow or browser" $(ARGS)

lint:            ## ruff, mypy --strict, and tsc for the browser client
	@$(SETUP) test node
	.venv/bin/ruff check .
	.venv/bin/mypy
	@tools/npm.sh check

docs:            ## run every snippet of the docs and check their links
	@$(SETUP) system test
	$(WHEEL) .venv/bin/pytest tests/docs $(ARGS)

bench:           ## all benchmarks, in at most 25 minutes: we and our peers, goals and verdicts
	@began=$$(date +%s); $(SETUP) system bench && BENCH_BEGAN=$$began tools/bench.sh standard $(ARGS)

bench-quick:     ## the same, briefly: at most 5 minutes
	@began=$$(date +%s); $(SETUP) system bench && BENCH_BEGAN=$$began tools/bench.sh quick $(ARGS)

bench-full:      ## the same, with more subscribers and repetitions: up to two hours
	@began=$$(date +%s); $(SETUP) system bench && BENCH_BEGAN=$$began tools/bench.sh full $(ARGS)

bench-check:     ## fail if a hot path has become slower, against benchmarks/baseline.json
	@$(SETUP) bench
	@.venv/bin/python -m benchmarks.micro --check

dev:             ## .venv with the checkout installed editable, for work on rtbridge
	@$(SETUP) dev node
	@echo "ready: .venv/bin/pytest"

clean:           ## remove what was set up and built
	rm -rf .venv build dist tests/js/node_modules benchmarks/servers/node_modules
