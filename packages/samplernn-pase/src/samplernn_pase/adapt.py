"""samplernn-pase-adapt DATA OUT --speaker NAME: teach a model a new voice, by fitting that voice's vector alone.

All that a model learns of a speaker is a vector: 15 numbers of a lookup, 100 or 256 of an encoder. That of the new one
begins as the mean of all, or, where vectors are computed from speech, at what is computed of his, and learns from his
recordings; with it come the statistics of his content. Everything else stays as it is, bit for bit, and with it every
other voice. The paper adapts without any training; this goes on from there.

DATA is prepared by samplernn-pase-preprocess for the same model; OUT is a checkpoint folder, and a run that goes on
when it was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder_core import cli

from .train import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from vocoder_core.corpus import Corpus, Entry

    from .features import Features
    from .model import SampleRNNPASE

TOLD = ("seen_bits",)  # of held-out speech of his, before and after


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="samplernn-pase-adapt", description="Teach a model the voice of one more speaker."
    )
    parser.add_argument("data", type=Path, help="a corpus prepared by samplernn-pase-preprocess, with his recordings")
    parser.add_argument("out", type=Path, help="folder of the model that knows it, too")
    parser.add_argument("--speaker", required=True, metavar="NAME", help="whose voice, as DATA/speakers.json names it")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FOLDER", help="the model (default: the one that is shipped)"
    )
    parser.add_argument("--steps", type=int, default=300, help="(default 300)")
    parser.add_argument("--batch-size", type=int, default=16, help="utterances at once, at most (default 16)")
    parser.add_argument("--lr", type=float, default=1e-2, help="of Adam, at its highest (default 0.01)")
    cli.add_device_argument(parser)
    return cli.run(parser, _adapt, argv)


def _adapt(arguments: argparse.Namespace) -> None:
    from vocoder_core.corpus import Corpus
    from vocoder_core.train import TrainConfig, fit

    from .batches import Batches, CropConfig
    from .check import Check, CheckConfig
    from .features import Features
    from .model import SampleRNNPASE

    known, name = SampleRNNPASE.from_pretrained(arguments.checkpoint), arguments.speaker
    whole, config = Corpus.open(arguments.data), known.config
    corpus = of_speaker(whole, name)
    corpus.require(config.mel, level=config.level, level_db=config.level_db)
    refuse(known, name)
    features = Features.open(whole, config.content.kind, mel=config.mel, pitch=config.labels.pitch)
    model, device = with_speaker(known, name, corpus, features), cli.device(arguments.device)
    steps, seldom = arguments.steps, min(50, arguments.steps)
    rows = min(arguments.batch_size, len(heard(corpus, features)))  # a slot for nobody costs as much
    training = TrainConfig(
        steps=steps, batch_size=rows, lr=arguments.lr * spread(model),
        warmup=min(10, steps), ema=0.0, log_every=seldom, valid_every=steps, save_every=seldom,
    )  # fmt: skip
    batches = Batches(corpus, features, model, CropConfig(), training.batch_size, training.seed, device)
    check = Check(corpus, features, CheckConfig(clips=8, seconds=4.0, synthesize=0))
    before = check(model.to(device).eval(), 0, arguments.out)
    fit(model, Loss(), batches, training, arguments.out, validate=check, device=device)
    after = check(model, steps, arguments.out)
    told = [f"{key} {before[key]:.4f} -> {after[key]:.4f}" for key in TOLD if key in before]
    held_out = ", ".join(told) or "nothing"
    print(f"{arguments.out}: {model.speaker_size} numbers of {name} are learned; held out: {held_out}")
    say = "samplernn-pase-tts TEXT" if config.content.categories else "samplernn-pase-infer in.wav"
    print(f"try: {say} out.wav --speaker {name} --checkpoint {arguments.out}")


def of_speaker(corpus: Corpus, name: str) -> Corpus:
    """The same corpus as if it held nobody else. Raises ValueError where it has no training speech of him."""
    entries = [entry for entry in corpus.entries if entry.speaker == name]
    if not any(entry.split == "train" for entry in entries):
        heard = sorted({entry.speaker for entry in corpus.split("train")})
        raise ValueError(f"{corpus.folder}: no training speech of {name!r}; it has some of {', '.join(heard[:8])}")
    return replace(corpus, entries=entries)


def refuse(known: SampleRNNPASE, name: str) -> None:
    """Raise ValueError for a model that is told nobody, or knows the speaker."""
    if known.voices is None:
        raise ValueError("this model is told no speaker: it has no voices, and needs none to be added")
    if name in known.config.speakers:
        raise ValueError(f"this model knows {name!r} already; expected the name of a speaker to be added")


def heard(corpus: Corpus, features: Features) -> list[Entry]:
    """His training recordings that have features. Raises ValueError without any."""
    entries = list(features.usable(corpus.split("train")))
    if not entries:
        raise ValueError(f"{corpus.folder}: none of his training recordings has features; see the report of preparing")
    return entries


def with_speaker(known: SampleRNNPASE, name: str, corpus: Corpus, features: Features) -> SampleRNNPASE:
    """The model with one more speaker, whose vector is all that learns in it; corpus: his recordings.

    Raises ValueError for vectors of his that another encoder made.
    """
    import torch
    from torch import nn

    from .model import SampleRNNPASE
    from .speaker import Given

    model = SampleRNNPASE(replace(known.config, speakers=(*known.config.speakers, name)))
    own = known.state_dict()
    key = "voices.vectors" if isinstance(known.voices, Given) else "voices.table.weight"
    begins = computed(known, name, corpus) if isinstance(known.voices, Given) else None
    own[key] = torch.cat([own[key], (own[key].mean(0) if begins is None else begins.to(own[key]))[None]])
    if known.config.content.by_speaker:
        moments = statistics_of(known, corpus, features)
        for place, row in zip(("content.mean", "content.std"), moments):
            own[place] = torch.cat([own[place][:-1], row[None].to(own[place]), own[place][-1:]])
    model.load_state_dict(own)
    if isinstance(model.voices, Given):  # what was given learns now
        vectors = model.voices.vectors
        del model.voices.vectors
        model.voices.vectors = nn.Parameter(vectors)
    for parameter_key, parameter in model.named_parameters():
        # every row is his, so gradients of the others' numbers are zeros, by which Adam moves nothing
        parameter.requires_grad_(parameter_key == key)
    return model


def computed(known: SampleRNNPASE, name: str, corpus: Corpus) -> Tensor | None:
    """The vector (D,) of a new speaker, by an encoder that learnt with the model, or as DATA/features keeps it.

    None where it keeps none. Raises ValueError for one of another encoder.
    """
    import torch

    from . import speaker_vectors
    from .corpus_speakers import path_of
    from .seed_speech import seed
    from .speaker import check

    config = known.config.speaker
    encoder = getattr(known.voices, "encoder", None)
    if encoder is not None:
        wav, _ = seed(corpus, corpus.split("train"), config.seconds)
        return torch.from_numpy(encoder.embed(wav, corpus.config.sample_rate))
    path = path_of(corpus.folder, config.source)
    if not path.is_file():
        return None
    given = speaker_vectors.read(path)
    if name not in given.names:
        return None
    # vectors that somebody brought have the fingerprint of their file, which is another one with every speaker
    check(replace(config, fingerprint="") if config.provider == "file" else config, given)
    return torch.from_numpy(given.of((name,))[0])


def statistics_of(known: SampleRNNPASE, corpus: Corpus, features: Features) -> Tensor:
    """Means and deviations (2, C) of what he says for training, everybody's where he never says it."""
    import numpy as np

    from .listening import own_statistics

    content = [features.of(entry) for entry in heard(corpus, features)]
    return own_statistics(known, np.concatenate(content))[0]


def spread(model: SampleRNNPASE) -> float:
    """How far vectors of speakers lie apart, of those that are told in units of it: GE2E's differ by hundredths."""
    from .speaker import Given

    return float(model.voices.scale) if isinstance(model.voices, Given) else 1.0


if __name__ == "__main__":
    raise SystemExit(main())
