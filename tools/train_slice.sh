#!/usr/bin/env bash
# Train on a GPU that is lent for minutes at a time: each call goes on where the last one stopped and ends with a checkpoint.
#
#   tools/train_slice.sh DATA RUN MINUTES [options of rnnms-train]
#   tools/train_slice.sh data runs/full 9 --config default --set train.batch_size=256 --set train.steps=60000
#
# The first call measures training speed with and without AMP (a minute). RUN is small enough to carry away and back:
# config.yaml, model.safetensors and resume.pt. DATA's audio.npy, int16, takes 115 MB an hour: `split -b 60M` carries it.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
data=$1 run=$2 minutes=$3
shift 3

if [ ! -e "$run/resume.pt" ]; then
  mkdir -p "$run"
  python -m rnnms.bench --config default --train --seconds 1 | tee "$run/bench.md"
fi

# SIGTERM lets the step under way end and saves; its exit code, 130, means: call again
code=0
timeout --signal=TERM --kill-after=60 "${minutes}m" python -m rnnms.train "$data" "$run" "$@" || code=$?
tail -n 3 "$run/metrics.jsonl"
case $code in
  0) echo "done: $run is trained to its last step" ;;
  124 | 130) echo "saved: call again with the same words to go on" ;;
  *) exit "$code" ;;
esac
