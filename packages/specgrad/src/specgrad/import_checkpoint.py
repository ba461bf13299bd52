"""specgrad-import CHECKPOINT FOLDER: a checkpoint folder out of weights trained with one of five public projects.

    priorgrad   microsoft/NeuralSpeech PriorGrad-vocoder    {"model", "step", "params": {"use_prior", ...}, ...}
    diffwave    lmnt-com/diffwave                           {"model", "step", "params", ...}, priorgrad's tensors
    wavegrad    lmnt-com/wavegrad                           {"model", "step", "params", ...}
    teysir      Teysir-B/SpecGrad                           wavegrad's tensors, {"lifter", ...} in the params
    seed        vvvm23/specgrad                             a bare state dict, as pytorch_model.bin

Sizes are read off the tensors, rates and noise levels off the params; what else each project does: public_projects.py.

A checkpoint is a pickle, which can name any function to be called; here none is: see vocoder_core.foreign_checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, foreign_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from .model import SpecGradConfig

PROJECTS = ("priorgrad", "diffwave", "wavegrad", "teysir", "seed")
EXPECTED = "a checkpoint of PriorGrad, lmnt's DiffWave or WaveGrad, Teysir-B/SpecGrad or vvvm23/specgrad"
RENAMED = {
    "spectrogram_upsampler.conv1.": "spectrogram_upsampler.layers.0.",
    "spectrogram_upsampler.conv2.": "spectrogram_upsampler.layers.1.",
    "spectrogram_upsampler.layers.0.0.": "spectrogram_upsampler.layers.0.",
    "spectrogram_upsampler.layers.1.0.": "spectrogram_upsampler.layers.1.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of specgrad-import."""
    parser = argparse.ArgumentParser(
        prog="specgrad-import", description="Convert a checkpoint of PriorGrad, DiffWave, WaveGrad or SpecGrad, safely."
    )
    parser.add_argument("checkpoint", type=Path, help="weights.pt (seed: pytorch_model.bin), or a bare state dict")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write, for specgrad-infer --checkpoint")
    parser.add_argument("--project", choices=PROJECTS, help="whose it is, where the file does not tell")
    parser.add_argument("--mel", metavar="PRESET", help="front end it was trained behind, if not the project's own")
    return cli.run(parser, _import, argv)


def _import(arguments: argparse.Namespace) -> None:
    tree = foreign_checkpoint.read(arguments.checkpoint, EXPECTED, ("params.", "diffwave.", "wavegrad."))
    from .public_projects import derive_config

    tensors, params = state_dict(tree), settings(tree)
    project = arguments.project or detect(tensors, params)
    config = derive_config(project, tensors, params, arguments.mel)
    convert(tensors, config, arguments.folder)
    print(
        f"{arguments.folder}: {project}, {config.network} of {sum(t.numel() for t in tensors.values()):,} weights, "
        f"{config.mel.sample_rate} Hz; try: specgrad-infer in.wav out.wav --checkpoint {arguments.folder}"
    )


def state_dict(tree: dict[Any, Any]) -> dict[str, Tensor]:
    """The network's tensors in a checkpoint's tree, under this package's names. Raises ValueError if there are none."""
    import torch

    tree = tree["model"] if isinstance(tree.get("model"), dict) else tree
    tensors = {str(name).removeprefix("module."): t for name, t in tree.items() if isinstance(t, torch.Tensor)}
    if not tensors:
        raise ValueError(f"the checkpoint holds no tensors; expected {EXPECTED}")
    for old, new in RENAMED.items():
        tensors = {new + k.removeprefix(old) if k.startswith(old) else k: tensor for k, tensor in tensors.items()}
    return tensors


def settings(tree: dict[Any, Any]) -> dict[str, Any]:
    """What the project noted beside the tensors and no shape tells; {} if it did not."""
    noted = tree.get("params")
    return noted if isinstance(noted, dict) else {}


def detect(tensors: dict[str, Tensor], params: dict[str, Any]) -> str:
    """Which of PROJECTS wrote this. Raises ValueError when it is none, or could be two."""
    if "film.0.input_conv.weight" in tensors:
        candidates = ("teysir" if "lifter" in params else "wavegrad", "teysir")
    elif "spectrogram_upsampler.layers.0.weight" in tensors:
        candidates = ("priorgrad" if "use_prior" in params else "diffwave", "priorgrad")
    elif "residual_layers.0.dilated_conv.weight" in tensors:
        raise ValueError("the checkpoint is an unconditional DiffWave, which reads no mel; expected a vocoder")
    else:
        raise ValueError(f"the checkpoint's tensors ({', '.join(sorted(tensors)[:3])}, ...) are no known network's")
    if "noise_schedule" not in params:
        raise ValueError(
            f"the checkpoint notes no params, and {' and '.join(sorted({candidates[0], candidates[1]}))} have the same "
            "tensors; say whose it is with --project (for vvvm23/specgrad: --project seed --mel specgrad24)"
        )
    return candidates[0]


def convert(tensors: dict[str, Tensor], config: SpecGradConfig, folder: Path) -> None:
    """Write the checkpoint folder. Raises ValueError for missing, superfluous, misshapen or non-finite tensors."""
    import torch

    from .model import SpecGrad

    model = SpecGrad(config)
    try:
        model.net.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"the checkpoint does not hold one whole network: {' '.join(str(error).split())}") from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"the checkpoint's {name} holds NaN or infinite weights; use an earlier checkpoint")
    model.set_statistics(torch.zeros(config.mel.n_mels), torch.ones(config.mel.n_mels))
    model.save_pretrained(folder)


if __name__ == "__main__":
    raise SystemExit(main())
