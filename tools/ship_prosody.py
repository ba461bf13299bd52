#!/usr/bin/env python3
"""Put a trained prosody of samplernn-pase into its package, in half precision: the voice that samplernn-pase-tts has.

    python tools/ship_prosody.py RUN

Prints what rounding the weights to fp16 changes in the mel of a sentence. Update the card beside the weights
(README.md) by hand, with the figures that tools/score_prosody.py prints.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from ship_voice import rounded

INTO = Path(__file__).resolve().parents[1] / "packages/samplernn-pase/src/samplernn_pase/weights/text"
LIMIT = 3 * 2**20  # bytes
SENTENCE = "He turned sharply, and faced Gregson across the table."


def main() -> None:
    """Round, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of samplernn-pase-prosody")
    parser.add_argument("--into", type=Path, default=INTO, help="the folder of weights (default: the package's)")
    arguments = parser.parse_args()

    from safetensors.torch import save_file

    from samplernn_pase.lexicon import transcribe
    from samplernn_pase.prosody import Prosody

    model = Prosody.from_pretrained(arguments.run)
    half = {name: rounded(tensor).contiguous() for name, tensor in model.state_dict().items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in half.values())
    if size > LIMIT:
        raise SystemExit(f"{arguments.run}: {size / 2**20:.1f} MiB in fp16; expected {LIMIT / 2**20:.0f} MiB at most")
    arguments.into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(arguments.run / "config.yaml", arguments.into / "config.yaml")
    save_file(half, arguments.into / "model.safetensors")
    timed = model.durations(transcribe(SENTENCE))
    change = (model.speak(timed).mel - Prosody.from_pretrained(arguments.into).speak(timed).mel).abs().mean()
    print(f"{arguments.into}: {size / 2**20:.2f} MiB, mel changed by {change:.5f} (ln) on average")


if __name__ == "__main__":
    main()
