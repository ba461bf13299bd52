"""Put a trained checkpoint into the rnnms package, in half precision: what `pip install rnnms` then speaks with.

    python tools/ship_voice.py RUN [--into packages/rnnms/src/rnnms/weights]

Prints what rounding the weights to fp16 changes: the largest difference of a log-probability on a mel of noise.
Update the card beside the weights (README.md) by hand, with the tables that tools/score_voice.py prints.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

WEIGHTS = Path(__file__).resolve().parents[1] / "packages/rnnms/src/rnnms/weights"
LIMIT = 16 * 2**20  # bytes: the wheel's bound


def main() -> None:
    """Round, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run or checkpoint folder")
    parser.add_argument("--into", type=Path, default=WEIGHTS, help="the package's folder of weights")
    arguments = parser.parse_args()

    import torch
    from safetensors.torch import save_file

    from rnnms import RNNMS

    model = RNNMS.from_pretrained(arguments.run)
    half = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    size = sum(tensor.numel() for tensor in half.values()) * 2
    if size > LIMIT:
        raise SystemExit(
            f"{arguments.run}: {size / 2**20:.1f} MiB in fp16; the wheel takes {LIMIT / 2**20:.0f} MiB at most"
        )
    arguments.into.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(arguments.run / "config.yaml", arguments.into / "config.yaml")
    save_file(half, arguments.into / "model.safetensors")

    torch.manual_seed(0)
    config = model.config
    mel = torch.rand(1, config.mel.n_mels, 10) - 1
    codes = torch.randint(0, 2**config.bits, (1, 10 * config.mel.hop_length))
    with torch.inference_mode():
        pair = [voice(mel, codes)[0].log_softmax(-1) for voice in (model, RNNMS.from_pretrained(arguments.into))]
    moved = (pair[0] - pair[1]).abs().max()
    print(f"{arguments.into}: {size / 2**20:.2f} MiB, fp16 moves log-probabilities by {moved:.1e} at most")


if __name__ == "__main__":
    main()
