#!/usr/bin/env bash
# compute-sanitizer over every plan's kernels, forward and backward, whole and ragged rows: out-of-bounds and misaligned
# accesses (memcheck), races in shared memory (racecheck), reads of what nobody wrote (initcheck, if asked for).
#
#   tests/gpu_sanitizer.sh [memcheck racecheck ...]
#
# ONLY=long leaves out the rows that one multiprocessor holds.
# PYTHON and COMPUTE_SANITIZER name the programs, if they are not `python` and `compute-sanitizer` of the PATH. Kernels
# are compiled beforehand, outside the sanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
sanitizer=${COMPUTE_SANITIZER:-compute-sanitizer}
export PYTHONPATH=$PWD:$PWD/tests${PYTHONPATH:+:$PYTHONPATH} PYTORCH_NO_CUDA_MEMORY_CACHING=1
export GENOCONV_HOME=${GENOCONV_HOME:-$(mktemp -d)}

"$python" tests/gpu_sanitizer.py check ${ONLY:-} # compiles, and compares the results with float64
[ $# -gt 0 ] || set -- memcheck racecheck
for tool in "$@"; do
    echo "== $tool"
    # The driver's bindings ask for functions that it may not have: no error of ours.
    "$sanitizer" --tool "$tool" --report-api-errors no --error-exitcode 1 "$python" tests/gpu_sanitizer.py ${ONLY:-}
done
