#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What needs a GPU, on a machine with one and no network, in three calls of at most nine minutes each:
#
#   benches/gpu.sh tests           the cases of the suite that need a GPU, and profiles of frame and kernels
#   benches/gpu.sh sanitizers      compute-sanitizer on the operators' cases
#   benches/gpu.sh benches         the driving frame, then the operators, what torch.compile makes of them last
#   benches/gpu.sh wheels FOLDER   first, on a machine with a network: the packages that the other may lack
#
# Each call builds and installs, and is complete in itself. $OUT gets <gpu>-<date>.json, with the machine and
# every figure, where later calls on the same sources add theirs, and logs-<call>.tar.gz, with whole logs and
# the profiles. A stage that fails, collects only in part or runs out of time stops no other. README's table:
#
#   fv2v bench --from benches/results/<gpu>-<date>.json --into README.md
#
# Exit status: 0 if all were clean, 1 if not, 2 for a wrong call or without a GPU. From outside come
# OUT (benches/results), PYTHON (python3), WHEELS (a folder that `wheels` filled), SECONDS_IN_ALL (530), which
# the stages share, and REHEARSE=1: without a GPU, everything but what runs on it, in small.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

PYTHON=${PYTHON:-python3}
OUT=${OUT:-benches/results}
SECONDS_IN_ALL=${SECONDS_IN_ALL:-530}
REHEARSE=${REHEARSE:-0}
BESIDE=benches/support:tests/support:tests/data # what scripts import, since PYTHONSAFEPATH leaves out their folder
LACKED=(av) # by machines that have PyTorch and what is common beside it
GPU_TESTS=(tests/kernels tests/networks tests/engine) # where cases for a GPU are
FRAMES=(benches/bench_reenactor.py benches/bench_rewrites.py benches/bench_peers.py benches/bench_soak.py)

OPERATORS=(benches/bench_{keypoint_flow,warp_candidates,compose_flow,warp3d,compose_warp,mask_head,soft_argmax3d,modulate,training}.py)

usage() {
  echo "gpu.sh: expected one of tests, sanitizers, benches, wheels FOLDER; got ${*:-nothing}" >&2
  exit 2
}

wheels() { # for CPython 3.12 on Linux, as many as fit a small upload
  local needs=()
  for name in "${LACKED[@]}"; do needs+=("$(grep "^$name==" constraints.txt)"); done
  exec "$PYTHON" -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 -d "$1" "${needs[@]}"
}

case ${1-} in
  tests) plan=(build tests profile kernels) ;;
  sanitizers) plan=(build memcheck racecheck initcheck) ;;
  benches) plan=(build frames operators compiled) ;;
  wheels) [ $# -eq 2 ] && wheels "$2" || usage "$@" ;;
  *) usage "$@" ;;
esac
[ $# -eq 1 ] || usage "$@"
call=$1

if [ "$REHEARSE" = 1 ]; then
  export FV2V_TINY=1 CUDA_VISIBLE_DEVICES=
elif ! "$PYTHON" -c 'import torch; raise SystemExit(not torch.cuda.is_available())'; then
  echo "gpu.sh: this needs a GPU that the torch of $PYTHON can use, and finds none (REHEARSE=1 does without)" >&2
  exit 2
fi

export PYTHON PYTHONSAFEPATH=1 # the installed package is tested, not the source folder around it
export OMP_WAIT_POLICY=PASSIVE
PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
work=$(mktemp -d)
export work
trap 'rm -rf "$work"' EXIT

weight() { # a stage's share of the time that is left
  case $1 in
    build) echo 15 ;;
    tests | frames) echo 60 ;;
    operators) echo 40 ;;
    profile) echo 10 ;;
    *) echo 20 ;;
  esac
}

record() { # stage, how it ended, seconds, limit
  printf '%s\t%s\t%d\t%d\n' "$@" >>"$work/stages.tsv"
  printf '== %s: %s, %d of %d s\n' "$@"
}

stage() { # its name, then a command to run under its limit
  local name=$1 total=0 each limit began=$SECONDS ended=ok
  shift
  for each in "${plan[@]}"; do total=$((total + $(weight "$each"))); done
  limit=$(((SECONDS_IN_ALL - SECONDS) * $(weight "$name") / total))
  [ "$limit" -gt 0 ] || limit=1 # 0 would mean none
  # an interrupted pytest still writes what it has
  timeout --signal=INT --kill-after=10 "$limit" "$@" >"$work/$name.log" 2>&1
  case $? in
    0) ;;
    124 | 137) ended="out of time" ;;
    *) ended=failed ;;
  esac
  tail -n 30 "$work/$name.log"
  record "$name" "$ended" $((SECONDS - began)) "$limit"
  [ "$ended" = ok ]
}

missing() { # a tool that a stage needs; not on a rehearsal, which replaces it
  [ "$REHEARSE" = 1 ] || command -v "$2" >/dev/null && return 1
  record "$1" "$2 is missing" 0 0
}

build() { # for the GPU that is here, unless told otherwise
  local arch=90
  [ "$REHEARSE" = 1 ] || arch=$("$PYTHON" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')
  # shellcheck disable=SC2016
  stage build env FV2V_CUDA_ARCHS="${FV2V_CUDA_ARCHS:-$arch}" bash -c '
    if [ -n "${WHEELS-}" ]; then "$PYTHON" -m pip install --no-index --no-deps "$WHEELS"/*.whl || exit; fi
    "$PYTHON" -m pip install --no-index --no-build-isolation --no-deps --force-reinstall . &&
      "$PYTHON" -c "
from fv2v_kernels import _cuda
print(\"CUDA\", _cuda.cuda_version, \"devices:\", _cuda.device_count())
assert _cuda.device_count() or '"$REHEARSE"', \"no kernels for this GPU\""'
}

suite() {
  local workers=$(($(nproc) / 2)) spread=() picked=(--gpu)
  # one case of every operator, the graph's stand-in, and one release
  [ "$REHEARSE" = 1 ] && picked=(-k "(cpu-cpu-float32 and gradients_match) or cuda_graph or recorded_tensor")
  if "$PYTHON" -c 'import xdist' 2>/dev/null && [ "$workers" -gt 1 ]; then
    spread=(-n "$workers" --dist worksteal)
    export OMP_NUM_THREADS=2
  fi
  stage tests "$PYTHON" -m pytest "${GPU_TESTS[@]}" "${picked[@]}" -q "${spread[@]}" \
    --continue-on-collection-errors -p no:cacheprovider --junit-xml="$work/tests.xml"
  unset OMP_NUM_THREADS
}

profile() { # one driving frame of each preset, kernel by kernel
  stage profile env PYTHONPATH="$BESIDE" "$PYTHON" benches/support/gpu_profile.py "$work"
}

kernels() { # every operator once, under Nsight Compute
  local under=(ncu --clock-control none --target-processes all --kernel-name-base demangled -k "regex:fv2v"
    --section SpeedOfLight --section MemoryWorkloadAnalysis --section Occupancy --section LaunchStats
    --csv --log-file "$work/kernels.csv")
  missing kernels ncu && return
  [ "$REHEARSE" = 1 ] && under=()
  stage kernels env PYTHONPATH="$BESIDE" "${under[@]}" "$PYTHON" benches/support/gpu_kernels.py
}

# The gradient tests go forward and backward, in default mode (atomics, memory as it was allocated) and in the
# deterministic one. Each tensor is an allocation of its own, or the tools would see torch's large pools alone.
sanitizer() {
  local tool=$1 place=cuda-cuda others="float64 or bfloat16" only=(--kernel-name kns=fv2v) under
  missing "$tool" compute-sanitizer && return
  # vectors of half numbers can miss their bounds; races and unwritten memory show in one type
  [ "$tool" = memcheck ] || others="float64 or float16"
  # has to see every kernel, or it would not know what stock ones have written
  [ "$tool" = initcheck ] && only=()
  under=(compute-sanitizer --tool "$tool" "${only[@]}" --report-api-errors no --target-processes all
    --error-exitcode 86 --log-file "$work/$tool.sanitizer")
  [ "$REHEARSE" = 1 ] && under=() place=cpu-cpu-float32
  stage "$tool" env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "${under[@]}" \
    "$PYTHON" -m pytest tests/kernels -q -p no:cacheprovider --junit-xml="$work/$tool.xml" \
    -m contract -k "$place and (gradients_match_the_reference or deterministic_gradients) and not ($others)"
}

bench() { # stage, which rows, then files or options
  local name=$1 rows=$2
  shift 2
  stage "$name" "$PYTHON" -m pytest "$@" -q -p no:cacheprovider --benchmark-only --benchmark-max-time=0.2 \
    --continue-on-collection-errors --benchmark-json="$work/$name.json" -k "$rows"
}

frames() { bench frames "not torch.compile" --full "${FRAMES[@]}"; }

operators() { bench operators "not reference and not torch.compile" "${OPERATORS[@]}"; }

compiled() { # a compilation takes a minute: whole frames at batch 1, then operators at the smallest volumes
  bench compiled "torch.compile and not (128x128 or batch or channels) and (whole or not reenactor)" \
    --full benches/bench_reenactor.py benches
}

later=("${plan[@]:1}")
if build; then built=yes; else built=no; fi
for name in "${later[@]}"; do
  plan=("${plan[@]:1}") # what is still to share the time
  if [ "$built" = no ]; then
    record "$name" "not built" 0 0
    continue
  fi
  case $name in
    tests) suite ;;
    profile | kernels | frames | operators | compiled) "$name" ;;
    *) sanitizer "$name" ;;
  esac
done
mkdir -p "$OUT"
tar -czf "$OUT/logs-$call.tar.gz" -C "$work" .
if [ "$REHEARSE" = 1 ]; then
  ! grep -Pv '^\S+\tok\t' "$work/stages.tsv"
else
  "$PYTHON" benches/support/gpu_report.py "$work" "$OUT"
fi
