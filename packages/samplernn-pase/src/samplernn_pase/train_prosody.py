"""samplernn-pase-prosody DATA RUN: train the prosody of one voice on a prepared corpus; again, it goes on.

DATA is made by samplernn-pase-preprocess from recordings with texts, English. What is missing beside it is made first:
the mel and the pitch (as for the vocoder), and timed labels of all recordings, DATA/features/labels, by alignment.

    loss = |mel| + |log duration| + (|height of pitch| where voiced + cross-entropy of voicing) / 2      all normalised
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, training

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus

    from .prosody import Prosody
    from .sentences import Sentences


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = training.parser("samplernn-pase-prosody", "Train the prosody of text for one voice, or go on training.")
    parser.add_argument("--voice", metavar="NAME", help="whose recordings, of the speakers in DATA")
    parser.add_argument("--labels", metavar="DIR", type=Path, help="timed labels, DIR/ID.lab (default: aligned)")
    parser.set_defaults(config="prosody")
    return cli.run(parser, _train, argv)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from vocoder_core.corpus import Corpus
    from vocoder_core.train import fit

    from .prosody import Prosody
    from .prosody_settings import ProsodySettings
    from .sentences import Batches, prepared

    settings = cli.settings(ProsodySettings, arguments, "samplernn_pase")
    corpus = Corpus.open(arguments.data)
    corpus.require(settings.model.mel, level=settings.model.level, level_db=settings.model.level_db)
    config = replace(settings.model, voice=voice_of(corpus, arguments.voice or settings.model.voice))
    train, valid = prepared(corpus, config, arguments.labels)
    torch.manual_seed(settings.train.seed)
    model = training.initial(Prosody, config, arguments.init)
    if arguments.init is None:
        train.measure(model)
    batches = Batches(train, settings.train.batch_size, settings.train.seed)
    check = Check(valid)
    device = cli.device(arguments.device)
    last = fit(model.to(device), loss, batches, settings.train, arguments.run, validate=check, device=device)
    finish(model.cpu(), train, valid, arguments.run)
    print(f"{arguments.run}: trained to step {last}; try: samplernn-pase-tts TEXT out.wav --prosody {arguments.run}")


def voice_of(corpus: Corpus, name: str) -> str:
    """Whose recordings are learnt from. Raises ValueError where that is not one."""
    names = sorted(corpus.speakers)
    if not name and len(names) == 1:
        return names[0]
    if name not in names:
        known = ", ".join(names[:10])
        raise ValueError(
            f"--voice is {name or 'not given'}; expected one of the {len(names)} speakers, such as {known}"
        )
    return name


def loss(model: Any, batch: Any) -> dict[str, Any]:
    """The loss and its parts; of padding nothing is asked."""
    import torch.nn.functional as F

    guess = model(batch.raw, batch.counts, batch.height, batch.voicing)
    real, inside, voiced = batch.counts > 0, batch.inside, batch.voicing > 0
    durations = (guess.durations.float() - batch.counts.clamp(min=1).log()).abs()[real].mean()
    mel = ((guess.mel.float() - batch.mel).abs() * inside[:, None]).sum() / inside.sum() / batch.mel.shape[1]
    height = ((guess.height.float() - batch.height).abs() * voiced).sum() / voiced.sum().clamp(min=1)
    voicing = F.binary_cross_entropy_with_logits(guess.voicing.float(), batch.voicing, reduction="none")
    voicing = (voicing * inside).sum() / inside.sum()
    total = mel + durations + 0.5 * (height + voicing)
    parts = {"mel": mel, "duration": durations, "height": height, "voicing": voicing}
    return {"loss": total, **{name: value.detach() for name, value in parts.items()}}


class Check:
    """The loss of held-out sentences, and its parts."""

    def __init__(self, sentences: Sentences) -> None:
        self.sentences = sentences

    def __call__(self, model: Prosody, step: int, run: Path) -> dict[str, float]:
        """Figures, means over sentences."""
        rows = [loss(model, self.sentences.batch([i], model)) for i in range(len(self.sentences))]
        return {name: sum(float(row[name]) for row in rows) / len(rows) for name in rows[0]} if rows else {}


def finish(model: Prosody, train: Sentences, valid: Sentences, run: Path) -> None:
    """Measure what the mean of errors hides, and keep it with the weights: how flat mels are, and how hasty phones.

    The mean error in log frames finds the median, and long phones are longer than short ones are short.
    """
    model.eval()
    train.measure_sharpness(model)
    (valid if len(valid) else train).measure_pace(model)
    model.save_pretrained(run)


if __name__ == "__main__":
    raise SystemExit(main())
