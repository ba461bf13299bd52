"""vqvaevc-import CHECKPOINT FOLDER: a checkpoint folder out of weights trained with one of the two public projects.

    mkotha/WaveRNN, tarepan/vqvaevc     vqvae.43.upconv.pyt     94 tensors, one of them a mask
    mkotha/WaveRNN                      nc.43.upconv.pyt        the decoder alone, which babbles

Sizes are read off the tensors; strides, the rate of 22,050 Hz and 16 bits are the projects' own. What their training
does to the weights after each update is done here by construction: coarse units have no weights for the byte they are
to say, and vectors are put on the sphere. The projects number speakers in the order in which their preprocessing came
upon the folders, and keep no names: --speakers brings them.

A checkpoint is a pickle, which can name any function to be called; here none is: see vocoder_core.foreign_checkpoint.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, foreign_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from .model import VQVAEVCConfig

EXPECTED = "a checkpoint of mkotha/WaveRNN or tarepan/vqvaevc, such as vqvae.43.upconv.pyt"
CODEBOOK = "condition.quantizer.codebook"
NAMES = [
    (r"vq\.embedding0", CODEBOOK),
    (r"encoder\.convs_wide\.(\d+)\.", r"condition.encoder.layers.\1.wide."),
    (r"encoder\.convs_1x1\.(\d+)\.", r"condition.encoder.layers.\1.narrow."),
    (r"encoder\.final_conv_0\.", "condition.encoder.final."),
    (r"encoder\.final_conv_1\.", "condition.encoder.last."),
    (r"overtone\.conv(\d)\.block(\d)\.conv_wide\.", r"overtone.convs.\1.halves.\2.wide."),
    (r"overtone\.conv(\d)\.block(\d)\.w_cond\.", r"overtone.convs.\1.halves.\2.speaker."),
    (r"overtone\.rnn(\d)\.gru\.(\w+)_l0", r"overtone.rnns.\1.gru.\2"),
    (r"overtone\.rnn(\d)\.tconv\.", r"overtone.rnns.\1.spread."),
    (r"(?:overtone\.)?wavernn\.gru\.(\w+)_l0", r"wavernn.gru.\1"),
    (r"(?:overtone\.)?wavernn\.fc1\.", "wavernn.linears.0."),
    (r"(?:overtone\.)?wavernn\.fc2\.", "wavernn.logits.0."),
    (r"(?:overtone\.)?wavernn\.fc3\.", "wavernn.linears.1."),
    (r"(?:overtone\.)?wavernn\.fc4\.", "wavernn.logits.1."),
]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of vqvaevc-import."""
    parser = argparse.ArgumentParser(
        prog="vqvaevc-import", description="Convert a checkpoint of mkotha/WaveRNN or tarepan/vqvaevc, safely."
    )
    parser.add_argument("checkpoint", type=Path, help="vqvae.43.upconv.pyt, nc.43.upconv.pyt or one of their history")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write, for --checkpoint")
    parser.add_argument(
        "--speakers", type=Path, metavar="FILE",
        help="names of its speakers, one a line, in the order of its numbers (default: the numbers themselves)",
    )  # fmt: skip
    return cli.run(parser, _import, argv)


def _import(arguments: argparse.Namespace) -> None:
    theirs = state_dict(foreign_checkpoint.read(arguments.checkpoint, EXPECTED))
    tensors = renamed(theirs)
    config = derive_config(tensors, read_names(arguments.speakers) if arguments.speakers else None)
    convert(tensors, config, arguments.folder)
    weights, known = sum(tensor.numel() for tensor in tensors.values()), config.speakers
    said = f"{len(known)} speakers, {known[0]} to {known[-1]}" if known else "no speakers"
    command = f"vqvaevc-convert in.wav out.wav --target {known[-1]} --checkpoint" if known else "vqvaevc-bench"
    print(f"{arguments.folder}: {weights:,} weights, {said}; try: {command} {arguments.folder}")


def read_names(path: Path) -> tuple[str, ...]:
    """The lines of a file. Raises FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"--speakers {path}: no such file; expected one with a name a line")
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def state_dict(tree: dict[Any, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint's tree by their public names, in float32. Raises ValueError if there are none."""
    import torch

    found = {str(name): t.float() for name, t in tree.items() if isinstance(t, torch.Tensor) and t.is_floating_point()}
    if not any("wavernn." in name for name in found):
        raise ValueError(f"the checkpoint holds no WaveRNN's tensors; expected {EXPECTED}")
    if not any(name.startswith("overtone.") for name in found):
        raise ValueError(
            "the checkpoint is of mkotha's mel vocoder, a WaveRNN without the Overtone, which this package does not "
            "have; its vocoder of mels is the config mel"
        )
    return found


# ---- names


def renamed(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by this package's names, the columns of speakers and of the coarse byte apart: cut, but not changed.

    Raises ValueError for a tensor that is none of the projects'.
    """
    speakers = max((t.shape[-1] for name, t in theirs.items() if name.endswith("w_cond.weight")), default=0)
    ours: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        if name.endswith("wavernn.mask"):
            continue
        new = _renamed(name)
        if not new.endswith("gru.weight_ih"):
            ours[new] = tensor[0] if new == CODEBOOK else tensor
            continue
        if tensor.dim() != 2 or tensor.shape[1] <= speakers + 3:
            raise ValueError(f"the checkpoint's {name} is of shape {tuple(tensor.shape)}; expected a GRU's weights")
        ours |= _of_the_wavernn(tensor, speakers) if new.startswith("wavernn.") else _of_a_gru(new, tensor, speakers)
    return ours


def _renamed(name: str) -> str:
    for pattern, instead in NAMES:
        new, count = re.subn(f"^{pattern}", instead, name)
        if count:
            return new
    raise ValueError(f"the checkpoint holds {name}, which no WaveRNN of the two projects has; expected {EXPECTED}")


def _of_a_gru(name: str, tensor: Tensor, speakers: int) -> dict[str, Tensor]:
    """Columns of theirs: what is heard, then the speaker."""
    heard, row = tensor.split([tensor.shape[1] - speakers, speakers], dim=1)
    return {name: heard} | ({f"{name[:-2]}row": row} if speakers else {})


def _of_the_wavernn(tensor: Tensor, speakers: int) -> dict[str, Tensor]:
    """Columns of theirs: what is heard, the speaker, both bytes before, the coarse one, of which half is masked."""
    import torch

    heard, row, told, own = tensor.split([tensor.shape[1] - speakers - 3, speakers, 2, 1], dim=1)
    fine = own.reshape(3, -1)[:, len(own) // 6 :]
    made = {"wavernn.gru.weight_ih": torch.cat([heard, told], dim=1), "wavernn.gru.weight_fine": fine}
    return made | ({"wavernn.gru.weight_row": row} if speakers else {})


# ---- what it becomes


def derive_config(tensors: dict[str, Tensor], names: tuple[str, ...] | None = None) -> VQVAEVCConfig:
    """The config of a network whose tensors, by our names, have these shapes.

    names: of its speakers; None: their numbers. Raises ValueError for a missing tensor or too many or few names.
    """
    from vocoder_core.vq import QuantizerConfig

    from .condition import EncoderConfig
    from .model import VQVAEVCConfig
    from .overtone import OvertoneConfig

    def size(name: str, axis: int = 0) -> int:
        if name not in tensors or tensors[name].dim() <= axis:
            raise ValueError(f"the checkpoint has no tensor for {name}; expected {EXPECTED}")
        return tensors[name].shape[axis]

    codes = CODEBOOK in tensors
    voices = size("wavernn.gru.weight_row", 1) if "wavernn.gru.weight_row" in tensors else 0
    speakers = tuple(str(number) for number in range(voices)) if names is None else names
    if len(speakers) != voices:
        raise ValueError(
            f"--speakers names {len(speakers)}; the checkpoint has {voices} speakers: expected a name each"
        )
    decoder = OvertoneConfig(
        conv=size("overtone.convs.0.halves.0.wide.bias") // 2, rnn=size("overtone.rnns.0.gru.weight_hh", 1),
        hidden=size("wavernn.gru.weight_hh", 1), linear=size("wavernn.linears.0.bias"), speaker=voices > 0,
    )  # fmt: skip
    if not codes:
        return VQVAEVCConfig(encoder=EncoderConfig(source="none"), overtone=decoder, speakers=speakers)
    return VQVAEVCConfig(
        encoder=EncoderConfig(channels=size("condition.encoder.final.bias")),
        quantizer=QuantizerConfig(kind="sphere", size=size(CODEBOOK), dim=size(CODEBOOK, 1)),
        overtone=decoder,
        speakers=speakers,
    )


def convert(tensors: dict[str, Tensor], config: VQVAEVCConfig, folder: Path) -> None:
    """Write the checkpoint folder. Raises ValueError for missing, superfluous, misshapen or non-finite tensors."""
    import torch

    from .model import VQVAEVC

    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"the checkpoint's {name} holds NaN or infinite weights; use an earlier checkpoint")
    model = VQVAEVC(config)
    missing = set(dict(model.named_parameters())) - set(tensors)
    try:
        model.load_state_dict(tensors, strict=False)
        unknown = set(tensors) - set(model.state_dict())
    except RuntimeError as error:
        missing, unknown = {" ".join(str(error).split())[:300]}, set()
    if missing or unknown:
        reason = f"{sorted(missing | unknown)[0]}"
        raise ValueError(f"the checkpoint does not hold one whole network: {reason}")
    if model.quantizer is not None:
        model.quantizer.after_step()  # onto the sphere
        for name, value in ("initialised", 1), ("steps", (model.quantizer.config.ramp or (0, 0))[1]):
            if hasattr(model.quantizer, name):  # trained: not to begin again, nor with a small commitment
                getattr(model.quantizer, name).fill_(torch.tensor(value))
    model.save_pretrained(folder)


if __name__ == "__main__":
    raise SystemExit(main())
