#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU, on a machine with one and no network:
#
#   benches/gpu/gpu.sh [tests] [sanitizers] [benches] [frames]     all four by default; the build always
#
# Builds and installs, runs the whole test suite on CUDA, compute-sanitizer on the operators' tests, the
# operators' benches, and those of a driving frame (float16, CUDA graphs, batch 8, and ten thousand frames of
# the clips in FV2V_MEDIA, or of a painting that moves, without a broken one), and writes $OUT/<gpu>-<date>.json with the machine and every figure. Where stages are run one at a
# time, that file, or benches/results/ of the same name, keeps what earlier calls on the same sources found.
#
# A stage that fails or runs out of time does not stop the next ones. Exit status: 0 if all were clean, 1 if not,
# 2 without a GPU. From outside come OUT (benches/results), PYTHON (python3), and SECONDS_IN_ALL (570), which
# the stages share.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

PYTHON=${PYTHON:-python3}
OUT=${OUT:-benches/results}
SECONDS_IN_ALL=${SECONDS_IN_ALL:-570}
TOOLS=(memcheck racecheck initcheck)
FRAMES=(benches/bench_reenactor.py benches/bench_rewrites.py benches/bench_soak.py)

[ $# -gt 0 ] || set -- tests sanitizers benches frames
plan=(build)
for name; do
  case $name in
    tests | benches | frames) plan+=("$name") ;;
    sanitizers) plan+=("${TOOLS[@]}") ;;
    *)
      echo "gpu.sh: no stage $name: there are tests, sanitizers, benches and frames" >&2
      exit 2
      ;;
  esac
done
if ! "$PYTHON" -c 'import torch; raise SystemExit(not torch.cuda.is_available())'; then
  echo "gpu.sh: this needs a GPU that the torch of $PYTHON can use, and finds none" >&2
  exit 2
fi

export PYTHON PYTHONSAFEPATH=1 # the installed package is tested, not the source folder around it
export OMP_WAIT_POLICY=PASSIVE
PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

weight() { # a stage's share of the time that is left
  case $1 in
    build) echo 15 ;;
    tests) echo 60 ;;
    benches) echo 45 ;;
    frames) echo 60 ;;
    *) echo 16 ;;
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

build() { # for the GPU that is here, unless told otherwise
  local arch
  arch=$("$PYTHON" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')
  # shellcheck disable=SC2016
  stage build env FV2V_CUDA_ARCHS="${FV2V_CUDA_ARCHS:-$arch}" bash -c '
    "$PYTHON" -m pip install --no-build-isolation --no-deps --force-reinstall . &&
      "$PYTHON" -c "from fv2v_kernels import _cuda; assert _cuda.device_count(), \"no kernels for this GPU\""'
}

suite() {
  local workers=$(($(nproc) / 2)) spread=()
  if "$PYTHON" -c 'import xdist' 2>/dev/null && [ "$workers" -gt 1 ]; then
    spread=(-n "$workers" --dist worksteal)
    export OMP_NUM_THREADS=2
  fi
  stage tests "$PYTHON" -m pytest tests -m "slow or not slow" -q "${spread[@]}" --continue-on-collection-errors \
    -p no:cacheprovider --junit-xml="$work/tests.xml"
  unset OMP_NUM_THREADS
}

# The gradient tests go forward and backward, in default mode (atomics, memory as it was allocated) and in the
# deterministic one. Each tensor is an allocation of its own, or the tools would see torch's large pools alone.
sanitizer() {
  local tool=$1 only=(--kernel-name kns=fv2v)
  local picked="cuda-cuda and (gradients_match_the_reference or deterministic_gradients)"
  local others="float64 or bfloat16"
  # vectors of half numbers can miss their bounds; races and unwritten memory show in one type
  [ "$tool" = memcheck ] || others="float64 or float16"
  # has to see every kernel, or it would not know what stock ones have written
  [ "$tool" = initcheck ] && only=()
  if ! command -v compute-sanitizer >/dev/null; then
    record "$tool" "compute-sanitizer is missing" 0 0
    return
  fi
  stage "$tool" env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$tool" "${only[@]}" \
    --report-api-errors no --target-processes all --error-exitcode 86 \
    --log-file "$work/$tool.sanitizer" \
    "$PYTHON" -m pytest tests -q -p no:cacheprovider --junit-xml="$work/$tool.xml" \
    -m contract -k "$picked and not ($others)"
}

bench() { # stage, which rows fit the time, then files or options
  local name=$1 rows=$2
  shift 2
  stage "$name" "$PYTHON" -m pytest "$@" -q -p no:cacheprovider --benchmark-only --benchmark-max-time=0.2 \
    --benchmark-json="$work/$name.json" -k "$rows"
}

benches() { # without the references, and compiled baselines at the smallest volumes
  bench benches "not reference and not (torch.compile and (128x128 or batch or channels))" benches \
    "${FRAMES[@]/#/--ignore=}"
}

frames() { # compiled at batch 1 and whole alone: a compilation takes a minute or more
  bench frames "not torch.compile or (whole and not batch)" --full "${FRAMES[@]}"
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
    benches) benches ;;
    frames) frames ;;
    *) sanitizer "$name" ;;
  esac
done
"$PYTHON" benches/support/gpu_report.py "$work" "$OUT"
