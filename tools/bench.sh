#!/bin/sh
# Run every benchmarks/bench_*.py.
set -eu
cd "$(dirname "$0")/.."
for bench in benchmarks/bench_*.py; do
    [ -f "$bench" ] || { echo "no benchmarks yet"; exit 0; }
    echo "== $bench"
    .venv/bin/python "$bench"
done
