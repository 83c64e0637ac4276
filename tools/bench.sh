#!/bin/sh
# bench.sh quick|standard|full [ARGUMENT ...]: the hot paths alone, then us and our peers side by side. JSON in build/bench.
set -eu
cd "$(dirname "$0")/.."
profile="$1"
shift
.venv/bin/python -m benchmarks.micro
case "$profile" in
    standard) exec .venv/bin/python -m benchmarks.suite "$@" ;;
    *) exec .venv/bin/python -m benchmarks.suite "--$profile" "$@" ;;
esac
