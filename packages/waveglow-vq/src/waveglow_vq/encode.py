"""waveglow-vq-encode in.wav codes.npz: speech as a few hundred bits a second, which waveglow-vq-decode reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vocoder_core import cli, inference


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="waveglow-vq-encode", description="Speech -> the codes of its content.")
    parser.add_argument("input", type=Path, help="in.wav (flac, ogg, mp3 ... any rate)")
    parser.add_argument("output", type=Path, help="codes.npz, or codes.vqc, which is smaller")
    parser.add_argument("--checkpoint", type=Path, help="a run or checkpoint folder (default: the built-in weights)")
    cli.add_device_argument(parser)
    return cli.run(parser, _encode, argv)


def _encode(arguments: argparse.Namespace) -> None:
    import numpy as np

    from vocoder_core import audio, codes_file

    from .conversion import book
    from .infer import level
    from .model import WaveGlowVQ

    inference.require_folder(arguments.output)
    model = WaveGlowVQ.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    wav, rate = audio.load(arguments.input)
    own, gain = inference.prepare(wav, rate, model.config.mel, level(model))
    codes = model.encode(own[None])[0].cpu()
    codes_file.write(arguments.output, codes_file.Coded(codes, rate, len(wav), gain), book(model))
    share = np.bincount(codes.numpy()) / len(codes)
    empirical = -(share[share > 0] * np.log2(share[share > 0])).sum() * model.condition.code_rate
    print(
        f"{arguments.output}: {len(codes)} codes of {len(wav) / rate:.2f} s, {model.condition.code_rate:.4g} a second, "
        f"{model.condition.bits:.4g} bit/s (entropy {empirical:.4g})"
    )


if __name__ == "__main__":
    raise SystemExit(main())
