#!/usr/bin/env bash
# Everything that a machine with an NVIDIA GPU can tell, in one call of at most 8 minutes: does the
# kernel agree with XLA's driver, and how fast are both and diffrax?
#
#   scripts/bench/gpu.sh [FOLDER OF THE PROBLEMS]
#
# PYTHON names an interpreter that has JAX for the GPU and the engine's other packages; without it
# the first that does is taken: python3, or one that uv builds (which takes a network). JSON lines go
# to standard output, and to kernel_check.jsonl and ensemble.jsonl in $OUT where that is set. Fails
# where the drivers disagree or nothing could be timed.
set -u -o pipefail
cd "$(dirname "$0")/../.."
data=${1:-../shared/bench}
limit=${LIMIT:-470}
out=${OUT:-}

has_gpu() { "$@" -c 'import diffrax, jax, jaxtyping, scipy; assert jax.default_backend() == "gpu"' 2>/dev/null; }
if [ -n "${PYTHON:-}" ]; then
  python=("$PYTHON")
elif has_gpu python3; then
  python=(python3)
else
  python=(uv run --quiet --with "jax[cuda12]" python)
fi
has_gpu "${python[@]}" || { echo "error: ${python[*]} finds no GPU, or packages are missing" >&2; exit 2; }

left() { echo $((limit - SECONDS)); }
keep() { if [ -n "$out" ]; then tee -a "$out/$1"; else cat; fi; }
failed=0

# A problem of each kind first, so that a wrong kernel is known of early.
timeout 200 "${python[@]}" scripts/bench/kernel_check.py --data "$data" --patients 2048 \
  --problems lorenz,P1,P2,P3 | keep kernel_check.jsonl || failed=1

# time SECONDS ARGUMENTS: what matters most comes first, since what is not begun in time is left out.
time_ensemble() {
  local seconds=$1 remaining
  shift
  remaining=$(($(left) - 10))
  [ "$remaining" -lt "$seconds" ] && seconds=$remaining
  [ "$seconds" -lt 15 ] && { echo "left out for want of time: $*" >&2; return 0; }
  timeout "$((seconds + 40 < $(left) ? seconds + 40 : $(left)))" "${python[@]}" \
    scripts/bench/ensemble.py --device gpu --data "$data" --repeats 3 --quiet-wait 0 \
    --longest-run 4 --seconds "$seconds" --json "$@" | keep ensemble.jsonl
  # 124: stopped at the limit, with the rows so far on record.
  local ended=${PIPESTATUS[0]}
  [ "$ended" -eq 0 ] || [ "$ended" -eq 124 ] || failed=1
}
sizes=1e6,1e5,1e4,1e3,1e7
time_ensemble 60 --problem P1 --precisions float32 --patients $sizes
time_ensemble 60 --problem P1 --precisions float64 --patients $sizes
time_ensemble 40 --problem lorenz --precisions float32 --rtol 1e-8 --atol 1e-8 --patients 1e6,1e7,1e5
time_ensemble 40 --problem P2 --precisions float64 --patients 1e5,1e6
time_ensemble 40 --problem P3 --precisions float64 --patients 1e5
time_ensemble 30 --problem P2 --precisions float32 --patients 1e5,1e6
time_ensemble 30 --problem P3 --precisions float32 --patients 1e5
time_ensemble 25 --problem lorenz --precisions float64 --patients 1e6
time_ensemble 40 --problem P1 --patients 1e6 --tune \
  --tools insilico-kernel,insilico-kernel-2-warps,insilico-kernel-4-warps
exit "$failed"
