"""Public checkpoints of PASE and PASE+ -> encoders: every tensor has to be there, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from vocoder_core import foreign_checkpoint

PROJECT = "github.com/santi-pdp/pase"
NAMED = "by --speaker-weights FILE, of samplernn-pase-preprocess by --speaker-vectors"
WHERE = {
    "pase": f"get PASE.ckpt (veu.talp.cat/models/PASE.ckpt, of {PROJECT}) and name it {NAMED} pase=FILE",
    "pase+": f"get FE_e199.ckpt (linked by the README of {PROJECT}) and name it {NAMED} pase+=FILE",
}
OTHERS = ("rnn.", "denseskips.")  # only PASE+ has them


def fill(encoder: nn.Module, path: Path, expected: str) -> None:
    """Take an encoder's weights from a checkpoint file.

    Raises FileNotFoundError, or ValueError, naming the first tensor, for a file that lacks one or has one that does not
    fit; what a run keeps beside its encoder is left alone.
    """
    tree = foreign_checkpoint.read(path, expected, harmless=("pase.",))
    tensors = tree.get("state_dict", tree)
    tensors = {str(name).removeprefix("frontend."): tensor for name, tensor in tensors.items()}
    own, known = encoder.state_dict(), {}
    strange = [name for name in tensors if name.startswith(OTHERS) and name not in own]
    if strange:
        raise ValueError(f"{path}: holds {strange[0]}, which pase has not: these are weights of pase+")
    for name, tensor in own.items():
        found = tensors.get(name)
        if found is None and name.endswith("num_batches_tracked"):  # older than torch 0.4.1, and nothing depends on it
            found = tensor
        if not isinstance(found, Tensor) or found.shape != tensor.shape:
            came = f"{tuple(found.shape)}" if isinstance(found, Tensor) else "none"
            raise ValueError(f"{path}: {name} is {came} instead of {tuple(tensor.shape)}; expected {expected}")
        known[name] = found
    encoder.load_state_dict(known)
