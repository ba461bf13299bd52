"""vqvaevc-decode codes.npz out.wav: speech out of the codes that vqvaevc-encode wrote, in any known voice."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from vocoder_core import cli, inference


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="vqvaevc-decode", description="The codes of speech -> speech.")
    parser.add_argument("input", type=Path, help="codes.npz or codes.vqc, as vqvaevc-encode writes them")
    parser.add_argument("output", type=Path, help="out.wav (or .flac, .ogg)")
    parser.add_argument("--checkpoint", type=Path, help="that which encoded (default: the built-in weights)")
    parser.add_argument("--speaker", metavar="NAME", help="whose voice: a speaker of the training set")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same samples (default 0)")
    parser.add_argument("--rate", choices=["input", "model"], default="input", help="sample rate of the output")
    inference.add_sampling_arguments(parser, ("int8", "int16"))
    cli.add_device_argument(parser)
    return cli.run(parser, _decode, argv)


def _decode(arguments: argparse.Namespace) -> None:
    from vocoder_core import audio, codes_file

    from . import bitstream
    from .model import VQVAEVC

    inference.require_folder(arguments.output)
    model = VQVAEVC.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    coded = codes_file.read(arguments.input, bitstream.book(model), "vqvaevc-encode")
    made = model.decode(bitstream.codes_of(model, coded), arguments.speaker, **inference.sampling(arguments))[0]
    rate, samples, own = coded.sample_rate, coded.samples, model.sample_rate
    if arguments.rate == "model":
        rate, samples = own, (2 * samples * own + rate) // (2 * rate)
    audio.save(arguments.output, inference.restore(made, coded.gain, own, rate, samples), rate)
    print(f"{arguments.output}: {samples / rate:.2f} s at {rate} Hz")


if __name__ == "__main__":
    raise SystemExit(main())
