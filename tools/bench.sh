#!/bin/sh
# bench.sh quick|standard|full [ARGUMENT ...]: every benchmark, then all goals with their verdicts and the report with
# its plots. JSON in build/bench. Arguments (--only WORD) go to the suite, and leave the others out.
# The time is bounded, setting up included (BENCH_BEGAN, Unix seconds): past it what is left is skipped, and said so.
set -eu
cd "$(dirname "$0")/.."
profile="$1"
shift
python=.venv/bin/python
option="--$profile"
case $profile in
    quick) most=270 ;;
    standard) option="" most=1440 ;;
    full) most=7200 ;;
    *) echo "no profile $profile" >&2 && exit 2 ;;
esac
if [ $# -gt 0 ]; then
    exec $python -m benchmarks.suite $option "$@"
fi
export BENCH_END=$((${BENCH_BEGAN:-$(date +%s)} + most))
mkdir -p build/bench
rm -f build/bench/*.json # of another run: the report would mix them
for part in micro suite recovery through_redis comparison growth; do
    echo "== $part"
    case $part in
        micro) $python -m benchmarks.micro ;;
        *) $python -m "benchmarks.$part" $option ;;
    esac
done
exec $python -m benchmarks.report
