#!/usr/bin/env python3
"""Put a trained prosody of samplernn-pase into its package, in 16 or 8 bits: the voice that samplernn-pase-tts has.

    python tools/ship_prosody.py RUN [--bits 8]

Prints what rounding the weights changes in the mel of a sentence. Update the card beside the weights
(README.md) by hand, with the figures that tools/score_prosody.py prints.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from ship_voice import stored

INTO = Path(__file__).resolve().parents[1] / "packages/samplernn-pase/src/samplernn_pase/weights/text"
LIMIT = 3 * 2**20  # bytes
SENTENCE = "He turned sharply, and faced Gregson across the table."


def main() -> None:
    """Round, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run of samplernn-pase-prosody")
    parser.add_argument("--into", type=Path, default=INTO, help="the folder of weights (default: the package's)")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=16, help="of a weight (default 16)")
    arguments = parser.parse_args()

    from safetensors.torch import save_file

    from samplernn_pase.lexicon import transcribe
    from samplernn_pase.prosody import Prosody

    model = Prosody.from_pretrained(arguments.run)
    tensors = stored(model, arguments.bits)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > LIMIT:
        raise SystemExit(
            f"{arguments.run}: {size / 2**20:.1f} MiB in {arguments.bits} bits; expected at most {LIMIT / 2**20:.0f}"
        )
    arguments.into.mkdir(parents=True, exist_ok=True)
    if arguments.run.resolve() != arguments.into.resolve():
        shutil.copyfile(arguments.run / "config.yaml", arguments.into / "config.yaml")
    save_file(tensors, arguments.into / "model.safetensors")
    (arguments.into / "model.safetensors").chmod(0o644)  # a wheel keeps the mode, and safetensors writes 600
    timed = model.durations(transcribe(SENTENCE))
    change = (model.speak(timed).mel - Prosody.from_pretrained(arguments.into).speak(timed).mel).abs().mean()
    print(f"{arguments.into}: {size / 2**20:.2f} MiB, mel changed by {change:.5f} (ln) on average")


if __name__ == "__main__":
    main()
