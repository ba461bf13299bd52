"""Put a trained checkpoint into its package, in half precision: what `pip install rnnms` then speaks with.

    python tools/ship_voice.py rnnms RUN
    python tools/ship_voice.py specgrad RUN [--into packages/specgrad/src/specgrad/weights]

Prints what rounding the weights to fp16 changes. Update the card beside the weights (README.md) by hand, with the
tables that tools/score_voice.py prints.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from voices import VOICES

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 16 * 2**20  # bytes: the wheel's bound


def main() -> None:
    """Round, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocoder", choices=sorted(VOICES))
    parser.add_argument("run", type=Path, help="a run or checkpoint folder")
    parser.add_argument("--into", type=Path, help="the folder of weights (default: the package's)")
    arguments = parser.parse_args()

    from safetensors.torch import save_file

    voice = VOICES[arguments.vocoder]
    into = arguments.into or voice.weights
    model = voice.vocoder().from_pretrained(arguments.run)
    half = {name: rounded(tensor).contiguous() for name, tensor in model.state_dict().items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in half.values())
    if size > LIMIT:
        raise SystemExit(
            f"{arguments.run}: {size / 2**20:.1f} MiB in fp16; the wheel takes {LIMIT / 2**20:.0f} MiB at most"
        )
    into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(arguments.run / "config.yaml", into / "config.yaml")
    save_file(half, into / "model.safetensors")
    print(f"{into}: {size / 2**20:.2f} MiB, {voice.change(model, voice.vocoder().from_pretrained(into))}")


def rounded(tensor: Tensor) -> Tensor:
    """In fp16, where that holds it: whole numbers stay, and so do counts beyond 65,504."""
    if not tensor.is_floating_point() or not tensor.half().isfinite().all():
        return tensor
    return tensor.half()


if __name__ == "__main__":
    main()
