#!/usr/bin/env bash
# A named slice of docs/benchmarks' tables on two cores in under ten minutes: FastSRB's 115 laws, one draw each, at 1 and 3 s,
# beside the installed peers on every third law of each difficulty, plus two noise levels and two sparse settings at 1 s.
# Stopped and called again it goes on where it was.  Tables and pictures: out/bench/ (or the folder given).
#   JOBS=1 for one core; CLOCK=cpu where the machine does other work too (budgets and times are then processor seconds).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -d .venv/bin ] && export PATH="$PWD/.venv/bin:$PATH"
out=${1:-out/bench}
common=(--repeats 1 --at 1 -j "${JOBS:-2}" --clock "${CLOCK:-wall}" --out "$out" --no-report)
bin/bench-fastsrb ladder --budgets 1,3 "${common[@]}"
for pair in operon:pyoperon gplearn:gplearn; do
    if python -c "import ${pair#*:}" 2>/dev/null; then
        bin/bench-fastsrb ladder --marks --methods "${pair%%:*}" --budgets 1,3 --every 3 "${common[@]}"
    else
        echo "bench: ${pair#*:} is not installed (pip install '.[peers]'): left out" >&2
    fi
done
bin/bench-fastsrb noise --values 0.01,0.1 "${common[@]}"
bin/bench-fastsrb sparsity --values 8,64 "${common[@]}"
bin/bench-fastsrb --report --at 1 --out "$out"
