"""waveglow-vq-import CHECKPOINT FOLDER: a checkpoint folder out of weights of a public WaveGlow.

    NVIDIA/waveglow              {"model": the network, pickled whole, "iteration", ...}, 2018 and later
    NVIDIA/DeepLearningExamples  {"state_dict", "config", ...}
    anything else                a bare state dict in one of their layouts: see public_layouts.py

Sizes are read off the tensors. Nothing in a file is run: see pickled_modules.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli

if TYPE_CHECKING:
    from torch import Tensor

    from .model import WaveGlowVQConfig
    from .public_layouts import Sizes

EXPECTED = "a checkpoint of NVIDIA/waveglow or of DeepLearningExamples' WaveGlow"
NOTED = {"n_flows": "flows", "n_group": "group", "n_early_every": "early_every", "n_early_size": "early_size"}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of waveglow-vq-import."""
    parser = argparse.ArgumentParser(
        prog="waveglow-vq-import", description="Convert a checkpoint of a public WaveGlow, safely."
    )
    parser.add_argument("checkpoint", type=Path, help="waveglow_256channels.pt, nvidia_waveglowpyt_fp32, ...")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write, for waveglow-vq-infer --checkpoint")
    parser.add_argument(
        "--mel", metavar="PRESET", default="waveglow22", help="front end it was trained behind (default: %(default)s)"
    )
    parser.add_argument(
        "--swap-odd", action=argparse.BooleanOptionalAction,
        help="odd flows keep the second half, as in the weights of glow_old.py (default: as the file says)",
    )  # fmt: skip
    return cli.run(parser, _import, argv)


def _import(arguments: argparse.Namespace) -> None:
    from .pickled_modules import read
    from .public_layouts import fused, sizes

    found, noted, old = contents(read(arguments.checkpoint, EXPECTED))
    tensors = fused(found)
    size = sizes(tensors, old if arguments.swap_odd is None else arguments.swap_odd)
    check_noted(size, noted)
    config = derive_config(size, arguments.mel)
    convert(tensors, config, arguments.folder)
    flow, weights = config.flow, sum(tensor.numel() for tensor in tensors.values())
    print(
        f"{arguments.folder}: {flow.flows} flows{', halves swapped in odd ones,' if flow.swap_odd else ''} of "
        f"{flow.layers} layers, {flow.channels} channels, {weights:,} weights, {config.mel.sample_rate} Hz; "
        f"try: waveglow-vq-infer in.wav out.wav --checkpoint {arguments.folder}"
    )


def contents(tree: Any) -> tuple[dict[str, Tensor], dict[str, Any], bool]:
    """A file's tensors by their public names, what it notes of its sizes, and whether it is one of glow_old.py's.

    Raises ValueError when there are no tensors.
    """
    import torch

    from .pickled_modules import Bag, state_dict

    inner = tree
    for key in ("model", "state_dict"):
        if isinstance(tree, dict) and isinstance(tree.get(key), (Bag, dict)):
            inner = tree[key]
    if isinstance(inner, Bag):
        modules = inner.attributes.get("_modules")
        if isinstance(modules, dict) and isinstance(modules.get("module"), Bag):  # of a DataParallel
            inner = modules["module"]
        found, noted, old = state_dict(inner), inner.attributes, inner.origin.startswith("glow_old.")
    else:
        pairs = inner.items() if isinstance(inner, dict) else ()
        found = {str(name): tensor for name, tensor in pairs if isinstance(tensor, torch.Tensor)}
        config = tree.get("config") if isinstance(tree, dict) else None
        noted, old = config if isinstance(config, dict) else {}, False
    if not found:
        raise ValueError(f"the checkpoint holds no tensors; expected {EXPECTED}")
    return found, noted, old


def check_noted(size: Sizes, noted: dict[str, Any]) -> None:
    """Raise ValueError where a file's tensors are not of the sizes that it notes beside them."""
    leaves = len(set(size.flow.widths)) > 1  # else no tensor tells when channels would leave, or how many
    for theirs, ours in NOTED.items():
        told, read = noted.get(theirs), getattr(size.flow, ours)
        if isinstance(told, int) and told != read and (leaves or not ours.startswith("early")):
            raise ValueError(f"the checkpoint notes {theirs} {told}, its tensors say {read}; it is damaged or changed")


def derive_config(size: Sizes, preset: str) -> WaveGlowVQConfig:
    """The config of a public network behind a front end. Raises ValueError for an unknown one, or of another hop."""
    from vocoder_core.mel_presets import PRESETS

    from .condition import ConditionConfig
    from .model import WaveGlowVQConfig
    from .periodicity import PeriodicityConfig
    from .whiten import WhitenConfig

    if preset not in PRESETS:
        raise ValueError(f"--mel {preset}: no such front end; expected one of {', '.join(PRESETS)}")
    mel = replace(PRESETS[preset], n_mels=size.n_mels)
    if size.upsample_kernel != 4 * mel.hop_length:
        raise ValueError(
            f"the checkpoint upsamples by a kernel of {size.upsample_kernel}, --mel {preset} has a hop of "
            f"{mel.hop_length}; expected a kernel of 4 hops: name the front end it was trained behind"
        )
    return WaveGlowVQConfig(
        mel=mel,
        flow=size.flow,
        whiten=WhitenConfig(order=0),
        periodicity=PeriodicityConfig(envelopes=0),
        condition=ConditionConfig(source="mel", upsampler="nvidia"),
        normalise=False,
        sigma=0.6,  # what NVIDIA's README synthesises with
    )


def convert(tensors: dict[str, Tensor], config: WaveGlowVQConfig, folder: Path) -> None:
    """Write the checkpoint folder out of tensors in the fused layout.

    Raises ValueError for missing, superfluous, misshapen or non-finite tensors.
    """
    import torch

    from .model import WaveGlowVQ
    from .public_layouts import renamed

    with torch.device("meta"):
        model = WaveGlowVQ(config)
    ours = {f"flow.{name}": tensor for name, tensor in renamed(tensors).items()}
    ours |= {f"condition.{name}": tensor for name, tensor in tensors.items() if name.startswith("upsample.")}
    ours |= {"mel_mean": torch.zeros(config.mel.n_mels), "mel_std": torch.ones(config.mel.n_mels)}
    try:
        model.load_state_dict(ours, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the checkpoint does not hold one whole network: {reason}") from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"the checkpoint's {name} holds NaN or infinite weights; use an earlier checkpoint")
        if name.startswith("convinv.") and not torch.linalg.slogdet(tensor[..., 0].double()).logabsdet.isfinite():
            raise ValueError(f"the checkpoint's {name} is singular, so there is no way back; use an earlier checkpoint")
    model.save_pretrained(folder)


if __name__ == "__main__":
    raise SystemExit(main())
