"""vqvaevc-adapt DATA OUT --speaker NAME: teach a model a new voice, by that voice's own numbers alone.

All that a model knows of a speaker are the columns of his in the layers that hear speakers, 8,832 numbers of the
original's network, or one learned vector. Those of the new one begin as the mean of all and learn from his recordings;
everything else stays as it is, bit for bit, and with it every other voice and all codes.

DATA is prepared by vqvaevc-preprocess for the same model; OUT is a checkpoint folder, and a run that goes on when it
was stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli

from .train import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from vocoder_core.corpus import Corpus

    from .batches import CropConfig
    from .model import VQVAEVC

SAMPLES = 1024  # predicted of each row
SECONDS = 2.0  # of each row of a codec, whose encoder takes statistics of it
TOLD = ("seen_bits", "seen_mel_l1")  # of held-out speech of his, before and after


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="vqvaevc-adapt", description="Teach a model the voice of one more speaker.")
    parser.add_argument("data", type=Path, help="a corpus prepared by vqvaevc-preprocess, with recordings of the voice")
    parser.add_argument("out", type=Path, help="folder of the model that knows it, too")
    parser.add_argument("--speaker", required=True, metavar="NAME", help="whose voice, as DATA/speakers.json names it")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FOLDER", help="the model (default: the one that is shipped)"
    )
    parser.add_argument("--steps", type=int, default=300, help="(default 300)")
    parser.add_argument("--batch-size", type=int, default=16, help="crops a step (default 16)")
    parser.add_argument("--lr", type=float, default=1e-2, help="of Adam, at its highest (default 0.01)")
    cli.add_device_argument(parser)
    return cli.run(parser, _adapt, argv)


def _adapt(arguments: argparse.Namespace) -> None:
    from vocoder_core.corpus import Corpus
    from vocoder_core.train import TrainConfig, fit

    from .batches import Batches
    from .check import Check, CheckConfig
    from .model import VQVAEVC

    known, name = VQVAEVC.from_pretrained(arguments.checkpoint), arguments.speaker
    corpus = of_speaker(Corpus.open(arguments.data), name)
    corpus.require(known.config.mel, level=known.config.level, level_db=known.config.level_db)
    model, device = with_speaker(known, name), cli.device(arguments.device)
    listen(model, corpus)
    steps, seldom = arguments.steps, min(50, arguments.steps)
    config = TrainConfig(
        steps=steps, batch_size=arguments.batch_size, lr=arguments.lr, warmup=min(10, steps), ema=0.0,
        log_every=seldom, valid_every=steps, save_every=seldom,
    )  # fmt: skip
    batches = Batches(
        corpus, model.reach, crop(model), config.batch_size, config.seed, device, model.config.speakers,
        disturbed=model.config.encoder.source == "wave",
    )  # fmt: skip
    check = Check(corpus, CheckConfig(clips=8, seconds=2.0, synthesize=0, probe=0))
    before = check(model.to(device).eval(), 0, arguments.out)
    fit(model, Adapting(), batches, config, arguments.out, validate=check, device=device)
    after = check(model, steps, arguments.out)
    model.config = replace(model.config, encoder=known.config.encoder)
    model.save_pretrained(arguments.out)
    told = [f"{key} {before[key]:.4f} -> {after[key]:.4f}" for key in TOLD if key in before]
    print(f"{arguments.out}: {numbers(model)} numbers of {name} are learned; held out: {', '.join(told) or 'nothing'}")
    print(f"try: vqvaevc-convert in.wav out.wav --target {name} --checkpoint {arguments.out}")


def of_speaker(corpus: Corpus, name: str) -> Corpus:
    """The same corpus as if it held nobody else. Raises ValueError where it has no training speech of him."""
    entries = [entry for entry in corpus.entries if entry.speaker == name]
    if not any(entry.split == "train" for entry in entries):
        heard = sorted({entry.speaker for entry in corpus.split("train")})
        raise ValueError(f"{corpus.folder}: no training speech of {name!r}; it has some of {', '.join(heard[:8])}")
    return replace(corpus, entries=entries)


def with_speaker(known: VQVAEVC, name: str) -> VQVAEVC:
    """The model with one more speaker, whose numbers are the mean of all others', and the only ones that learn.

    Raises ValueError for a model that is told nobody, or knows the speaker.
    """
    from .model import VQVAEVC

    config = known.config
    if not config.speakers:
        raise ValueError("this model is told no speaker: it has no voices, and needs none to be added")
    if name in config.speakers:
        raise ValueError(f"this model knows {name!r} already; expected the name of a speaker to be added")
    encoder = config.encoder
    if encoder.source == "codec":  # of which a decoder of speech that is told nobody learns nothing
        encoder = replace(encoder, objective="both" if config.overtone.speaker else "mel")
    model = VQVAEVC(replace(config, speakers=(*config.speakers, name), encoder=encoder))
    own, grown = known.state_dict(), set()
    for key, tensor in model.state_dict().items():
        for dim in (d for d in range(tensor.dim()) if tensor.shape[d] != own[key].shape[d]):
            own[key] = with_mean(own[key], dim)
            grown.add(key)
    model.load_state_dict(own)
    for key, parameter in model.named_parameters():
        # every row is his, so gradients of the others' numbers are zeros, by which Adam moves nothing
        parameter.requires_grad_(key in grown)
    return model


def with_mean(tensor: Tensor, dim: int) -> Tensor:
    """A tensor and its mean along a dimension, behind it."""
    import torch

    return torch.cat([tensor, tensor.mean(dim, keepdim=True)], dim)


def numbers(model: VQVAEVC) -> int:
    """How many numbers each speaker has of his own."""
    learned = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return learned // len(model.config.speakers)


def listen(model: VQVAEVC, corpus: Corpus) -> None:
    """The range of the new voice, where the model keeps those of all."""
    from .codec import Codec

    condition = model.condition
    if isinstance(condition, Codec) and model.config.labels.pitch:
        condition.learn_voices(corpus, model.config.speakers)  # the others are not in it, and stay as they are


def crop(model: VQVAEVC) -> CropConfig:
    """Crops that are just long enough."""
    from .batches import GRID, CropConfig

    (left, right), mel = model.reach, model.config.mel
    samples = -(-left // GRID) * GRID + SAMPLES + right
    if model.config.encoder.source == "codec":
        samples = max(samples, int(SECONDS * mel.sample_rate))
    return CropConfig(frames=-(-samples // mel.hop_length), samples=SAMPLES)


class Adapting(Loss):
    """The loss of training, of a model whose codes learn nothing."""

    def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
        """See `Loss`."""
        quantizer = getattr(model, "module", model).quantizer
        if quantizer is not None:
            quantizer.eval()
        return super().__call__(model, batch)


if __name__ == "__main__":
    raise SystemExit(main())
