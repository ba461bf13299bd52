"""vqvaevc-encode in.wav codes.npz: speech as a few thousand bits a second, or hundreds; vqvaevc-decode reads them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vocoder_core import cli, inference


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="vqvaevc-encode", description="Speech -> the codes of its content.")
    parser.add_argument("input", type=Path, help="in.wav (flac, ogg, mp3 ... any rate)")
    parser.add_argument("output", type=Path, help="codes.npz, or codes.vqc, which is smaller")
    parser.add_argument("--checkpoint", type=Path, help="a run or checkpoint folder (default: the built-in weights)")
    cli.add_device_argument(parser)
    return cli.run(parser, _encode, argv)


def _encode(arguments: argparse.Namespace) -> None:
    from vocoder_core import audio, codes_file

    from . import bitstream
    from .infer import level
    from .model import VQVAEVC

    inference.require_folder(arguments.output)
    model = VQVAEVC.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    book = bitstream.book(model)
    wav, rate = audio.load(arguments.input)
    own, gain = inference.prepare(wav, rate, model.config.mel, level(model))
    coded = bitstream.kept(model.encode(own[None]), rate, len(wav), gain)
    size = codes_file.write(arguments.output, coded, book)
    print(f"{arguments.output}: {len(wav) / rate:.2f} s in {size} bytes")
    print(f"codes: {bitstream.described(coded.codes, book.size, model.code_rate)}")
    if coded.pitch is not None:
        frame_rate = model.sample_rate / model.config.mel.hop_length
        print(f"pitch: {bitstream.described(coded.pitch, book.levels, frame_rate)}")


if __name__ == "__main__":
    raise SystemExit(main())
