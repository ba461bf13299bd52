#!/usr/bin/env bash
# Train on a GPU that is lent for minutes at a time: each call goes on where the last one stopped and ends with a checkpoint.
#
#   tools/train_slice.sh VOCODER DATA RUN MINUTES [options of VOCODER-train]
#   tools/train_slice.sh rnnms data runs/full 9 --config default --set train.batch_size=256 --set train.steps=60000
#   tools/train_slice.sh specgrad.distill data runs/few 9 --init runs/flow        any module that trains, too
#
# A vocoder's first call measures its training speed (a minute). RUN is small enough to carry away and back:
# config.yaml, model.safetensors and resume.pt. DATA's audio.npy, int16, takes 115 MB an hour: `split -b 60M` carries it.
set -euo pipefail
[ $# -ge 4 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
vocoder=$1 data=$2 run=$3 minutes=$4
shift 4
case $vocoder in
  *.*) command=$vocoder ;;
  *) command=$vocoder.train ;;
esac

if [ "$command" = "$vocoder.train" ] && [ ! -e "$run/resume.pt" ]; then
  mkdir -p "$run"
  python -m "$vocoder.bench" --config default --train --seconds 1 | tee "$run/bench.md"
fi

# SIGTERM lets the step under way end and saves; its exit code, 130, means: call again
code=0
timeout --signal=TERM --kill-after=60 "${minutes}m" python -m "$command" "$data" "$run" "$@" || code=$?
[ -e "$run/resume.pt" ] || { echo "nothing is saved in $run: it failed, or $minutes minutes are too few to begin" >&2; exit 1; }
tail -n 3 "$run/metrics.jsonl"
case $code in
  0) echo "done: $run is trained to its last step" ;;
  124 | 130) echo "saved: call again with the same words to go on" ;;
  *) exit "$code" ;;
esac
