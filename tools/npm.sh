#!/bin/sh
# npm.sh SCRIPT: run a script of tests/js/package.json. Without node: skipped aloud, but a failure under CI=true.
set -eu
cd "$(dirname "$0")/../tests/js" 2>/dev/null && [ -f package.json ] || { echo "tests/js is not there yet"; exit 0; }
if ! command -v npm >/dev/null; then
    echo "SKIPPED: npm run $1 in tests/js, because npm is missing" >&2
    [ "${CI:-}" != true ]
    exit
fi
export NODE_OPTIONS="${NODE_OPTIONS:-} --test-reporter=spec"
exec npm run --silent "$1"
