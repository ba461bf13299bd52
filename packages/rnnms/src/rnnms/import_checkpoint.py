"""rnnms-import CHECKPOINT FOLDER: a checkpoint folder out of weights trained with one of the two public projects.

    univoc 0.2 .pt              {"model": {"rnn1.*", "embedding.*", "rnn2.*", "fc1.*", "fc2.*"}, ...}
    tarepan's Lightning .ckpt   {"state_dict": {"rnnms.encoder.*", "rnnms.decoder.*"}, "hyper_parameters": ..., ...}
    a bare state dict           with either's tensor names

Sizes are read off the tensors. Both projects share one front end, which goes into config.yaml: the mel preset rnnms16,
10-bit labels by librosa's compander, and labels that lag the mel by half a window.

A checkpoint is a pickle, which can name any function to be called; here none is: see vocoder_core.foreign_checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, foreign_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from .model import RNNMSConfig

RENAMED = {"rnn1.": "encoder.", "embedding.": "decoder.embedding.", "rnn2.": "decoder.rnn.", "fc": "decoder.fc"}
EXPECTED = "a checkpoint of univoc or tarepan/UniversalVocoding"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of rnnms-import."""
    parser = argparse.ArgumentParser(
        prog="rnnms-import", description="Convert a univoc or tarepan/UniversalVocoding checkpoint, safely."
    )
    parser.add_argument("checkpoint", type=Path, help="univoc's .pt, tarepan's Lightning .ckpt, or a bare state dict")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write, for rnnms-infer --checkpoint")
    parser.add_argument(
        "--codec",
        choices=["librosa", "midpoint"],
        default="midpoint",
        help="decode labels at their cells' centres (default), or as univoc does: same weights, 2 to 5 dB more noise",
    )
    return cli.run(parser, _import, argv)


def _import(arguments: argparse.Namespace) -> None:
    tree = foreign_checkpoint.read(arguments.checkpoint, EXPECTED, ("rnnms.", "univoc."))
    config = replace(derive_config(state_dict(tree), hyper_parameters(tree)), codec=arguments.codec)
    convert(state_dict(tree), config, arguments.folder)
    print(
        f"{arguments.folder}: {config.bits} bits, hidden size {config.hidden_size}; "
        f"try: rnnms-infer in.wav out.wav --checkpoint {arguments.folder}"
    )


def state_dict(tree: dict[Any, Any]) -> dict[str, Tensor]:
    """The network's tensors in a checkpoint's tree, under this package's names. Raises ValueError if there are none."""
    import torch

    for key in ("model", "state_dict"):
        if isinstance(tree.get(key), dict):
            tree = tree[key]
            break
    tensors = {str(name).removeprefix("rnnms."): t for name, t in tree.items() if isinstance(t, torch.Tensor)}
    for old, new in RENAMED.items():
        tensors = {new + k.removeprefix(old) if k.startswith(old) else k: tensor for k, tensor in tensors.items()}
    if not tensors:
        raise ValueError(
            "the checkpoint holds no tensors; expected a trained univoc or tarepan/UniversalVocoding network"
        )
    return tensors


def hyper_parameters(tree: dict[Any, Any]) -> dict[str, int]:
    """What Lightning noted beside the tensors and no shape tells: hop_length and sample_rate, where it did."""
    noted = tree.get("hyper_parameters")
    names = {"hop_length": "hop_length", "sampling_rate": "sample_rate"}
    found = {new: noted.get(old) for old, new in names.items()} if isinstance(noted, dict) else {}
    return {name: value for name, value in found.items() if type(value) is int}


def derive_config(tensors: dict[str, Tensor], noted: dict[str, int]) -> RNNMSConfig:
    """The config of a network whose tensors have these shapes, behind the two projects' front end.

    Raises ValueError when a tensor is missing or the shapes are no RNN_MS network's.
    """
    from vocoder_core.mel_presets import PRESETS

    from .model import RNNMSConfig

    def size(name: str, axis: int) -> int:
        if name not in tensors or tensors[name].dim() != 2:
            raise ValueError(
                f"the checkpoint has no matrix {name}; expected a univoc or tarepan/UniversalVocoding network"
            )
        return tensors[name].shape[axis]

    classes = size("decoder.embedding.weight", 0)
    if classes & (classes - 1) or classes == 512:
        raise ValueError(
            f"the checkpoint tells {classes} sample values apart; expected 1024: univoc 0.1 (512) has another "
            "front end, which this command does not know"
        )
    mel = replace(PRESETS["rnnms16"], n_mels=size("encoder.weight_ih_l0", 1), **noted)  # type: ignore[arg-type]
    return RNNMSConfig(
        mel=mel,
        bits=classes.bit_length() - 1,
        codec="librosa",
        encoder_size=size("encoder.weight_hh_l0", 1),
        embedding_size=size("decoder.embedding.weight", 1),
        hidden_size=size("decoder.rnn.weight_hh_l0", 1),
        linear_size=size("decoder.fc1.weight", 0),
        delay=mel.win_length // 2,  # both pad the wave by half a window before cutting labels
    )


def convert(tensors: dict[str, Tensor], config: RNNMSConfig, folder: Path) -> None:
    """Write the checkpoint folder. Raises ValueError for missing, superfluous, misshapen or non-finite tensors."""
    from .model import RNNMS

    model = RNNMS(config)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint does not hold one whole RNN_MS network: {error}") from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"the checkpoint's {name} holds NaN or infinite weights; use an earlier checkpoint")
    model.save_pretrained(folder)


if __name__ == "__main__":
    raise SystemExit(main())
