"""samplernn-pase-embed in.wav ... out.npz: who speaks in recordings, as vectors; or in a prepared corpus.

    samplernn-pase-embed me.wav me.npy                 one voice: (256,) float32
    samplernn-pase-embed anna.wav bob.wav voices.npz   with names, which are the files', and what computed them
    samplernn-pase-embed DATA --seconds 60             DATA/features/speakers-ge2e.npz, as training reads it

Pauses are left out, and how loud a recording is does not matter.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder_core import cli, inference

if TYPE_CHECKING:
    from .speaker import SpeakerConfig
    from .speaker_vectors import Vectors


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="samplernn-pase-embed", description="Speech -> vectors of who speaks.")
    parser.add_argument(
        "inputs", nargs="+", metavar="in.wav ... out.npz | DATA",
        help="recordings, and where their vectors go, of one also out.npy; or a prepared corpus",
    )  # fmt: skip
    parser.add_argument("--provider", choices=["ge2e", "pase", "pase+"], default="ge2e", help="(default ge2e)")
    parser.add_argument(
        "--weights", "--speaker-weights", type=Path, metavar="FILE", help="the encoder's; ge2e's are in Resemblyzer"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech, pauses left out (default 60)")
    return cli.run(parser, _embed, argv)


def _embed(arguments: argparse.Namespace) -> None:
    from . import speaker_vectors
    from .speaker import SpeakerConfig

    config = SpeakerConfig(provider=arguments.provider, seconds=arguments.seconds)
    *recordings, last = [Path(name) for name in arguments.inputs]
    if not recordings:
        _embed_corpus(last, config, arguments.weights)
        return
    if last.suffix not in (".npy", ".npz") or (last.suffix == ".npy" and len(recordings) > 1):
        raise ValueError(
            f"{last}: the vectors of {len(recordings)} recordings go into out.npz, of one also into out.npy"
        )
    inference.require_folder(last)
    made = of_recordings(recordings, config, arguments.weights)
    if last.suffix == ".npy":
        import numpy as np

        from vocoder_core.corpus.block import replacing

        with replacing(last) as file:
            np.save(file, made.values[0])
    else:
        speaker_vectors.write(last, made)
    _tell(last, made)


def _embed_corpus(folder: Path, config: SpeakerConfig, weights: Path | None) -> None:
    from vocoder_core.corpus import Corpus

    from . import corpus_speakers

    if not folder.is_dir():
        raise ValueError(f"{folder}: one argument is a prepared corpus; expected in.wav ... out.npz, or such a folder")
    made = corpus_speakers.prepare(Corpus.open(folder), config, weights)
    assert made is not None, "of a provider that computes"
    _tell(corpus_speakers.path_of(folder, config.source), made)


def of_recordings(recordings: Sequence[Path], config: SpeakerConfig, weights: Path | None) -> Vectors:
    """The vectors of some recordings, named like their files.

    Raises ValueError for two of one name, and for one in which nothing is said; FileNotFoundError.
    """
    import numpy as np

    from vocoder_core import audio

    from .seed_speech import spoken
    from .speaker import encoder
    from .speaker_vectors import Vectors

    names = tuple(path.stem for path in recordings)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two recordings have the name {twice!r}, and a vector is named like its file: rename one")
    made, rows, heard = encoder(config.provider, weights), [], []
    for path in recordings:
        wav, rate = audio.load(path)
        try:
            said = spoken(wav, rate)[: max(1, round(config.seconds * rate))]
            rows.append(made.embed(said, rate))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        heard.append(len(said) / rate)
    return Vectors(names, np.stack(rows), made.name, made.fingerprint, config.seconds, tuple(heard))


def _tell(path: Path, made: Vectors) -> None:
    from .speaker import SHOWN

    seconds = f"{min(made.heard):.1f} to {max(made.heard):.1f} s" if len(made.heard) > 1 else f"{made.heard[0]:.1f} s"
    print(
        f"{path}: {len(made.names)} x {made.values.shape[1]} numbers by {made.provider} "
        f"(weights {made.fingerprint[:SHOWN]}), of {seconds} of speech each"
    )


if __name__ == "__main__":
    raise SystemExit(main())
