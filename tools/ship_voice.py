"""Put a trained checkpoint into its package, in 16 or 8 bits: what `pip install rnnms` then speaks with.

    python tools/ship_voice.py rnnms RUN
    python tools/ship_voice.py specgrad RUN [--into packages/specgrad/src/specgrad/weights]
    python tools/ship_voice.py vqvaevc packages/vqvaevc/src/vqvaevc/weights --bits 8 --into TRIAL
    python tools/ship_voice.py specgrad RUN --bits 8 --keep net.spectrum

Prints what rounding the weights changes. 16 bits: floats. 8 bits: the large matrices as vocoder_core.stored_weights
has them, in half the bytes; all other tensors in 16. Update the card beside the weights (README.md) by hand, with the
tables that tools/score_voice.py prints.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from voices import VOICES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vocoder_core.vocoder import Vocoder

LIMIT = 16 * 2**20  # bytes: the wheel's bound


def main() -> None:
    """Round, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocoder", choices=sorted(VOICES))
    parser.add_argument("run", type=Path, help="a run or checkpoint folder")
    parser.add_argument("--into", type=Path, help="the folder of weights (default: the package's)")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=16, help="of a weight (default 16)")
    parser.add_argument("--keep", nargs="+", default=[], help="with 8: tensors that stay in 16, by how names begin")
    arguments = parser.parse_args()

    from safetensors.torch import save_file

    voice = VOICES[arguments.vocoder]
    into = arguments.into or voice.weights
    model = voice.vocoder().from_pretrained(arguments.run)
    tensors = stored(model, arguments.bits, arguments.keep)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > LIMIT:
        raise SystemExit(
            f"{arguments.run}: {size / 2**20:.1f} MiB in {arguments.bits} bits; the wheel takes "
            f"{LIMIT / 2**20:.0f} MiB at most"
        )
    into.mkdir(parents=True, exist_ok=True)
    if arguments.run.resolve() != into.resolve():
        shutil.copyfile(arguments.run / "config.yaml", into / "config.yaml")
    save_file(tensors, into / "model.safetensors")
    (into / "model.safetensors").chmod(0o644)  # a wheel keeps the mode, and safetensors writes 600
    change = voice.change(model, voice.vocoder().from_pretrained(into))
    print(f"{into}: {size / 2**20:.2f} MiB, rounding to {arguments.bits} bits {change}")


def stored(model: Vocoder, bits: int, keep: Sequence[str] = ()) -> dict[str, Tensor]:
    """A model's tensors as they ship."""
    from vocoder_core.stored_weights import packed

    tensors = model.state_dict()
    if bits == 8:
        tensors = packed(model, tensors, keep)
    return {name: rounded(tensor).contiguous() for name, tensor in tensors.items()}


def rounded(tensor: Tensor) -> Tensor:
    """In fp16, where that holds it: whole numbers stay, and so do counts beyond 65,504."""
    if not tensor.is_floating_point() or not tensor.half().isfinite().all():
        return tensor
    return tensor.half()


if __name__ == "__main__":
    main()
