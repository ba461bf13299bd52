"""samplernn-pase-train DATA RUN: train samplernn-pase on a prepared corpus; the same command goes on where it stopped.

The loss is the cross-entropy of the next sample, in nats; `bits` is the same in bits per sample, the figure that
compares across runs. Utterances are heard whole, chunk by chunk, and the frame tiers' states go from chunk to chunk
(sequence.py). On several GPUs: `torchrun --nproc-per-node 8 -m samplernn_pase.train DATA RUN`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, training

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus

    from .features import Features
    from .model import SampleRNNPASE, SampleRNNPASEConfig
    from .speaker_vectors import Vectors


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    return cli.run(training.parser("samplernn-pase-train", "Train samplernn-pase, or go on training."), _train, argv)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from vocoder_core.corpus import Corpus
    from vocoder_core.train import fit

    from . import corpus_speakers
    from .batches import Batches
    from .check import Check
    from .features import Features
    from .references import References
    from .settings import Settings

    settings = cli.settings(Settings, arguments, "samplernn_pase")
    corpus = Corpus.open(arguments.data)
    config = settings.model
    corpus.require(config.mel, level=config.level, level_db=config.level_db)
    features = Features.open(corpus, config.content.kind, mel=config.mel, pitch=config.labels.pitch)
    config, given = with_speakers(config, corpus, features)
    settings = replace(settings, model=config)
    torch.manual_seed(settings.train.seed)
    device = cli.device(arguments.device)
    model = initial(config, features, given, arguments.init)
    if isinstance(model.voices, References):
        corpus_speakers.teach(model.voices, corpus, config.speaker.seconds, new=arguments.init is None)
    size, seed = settings.train.batch_size, settings.train.seed
    batches = Batches(corpus, features, model, settings.crop, size, seed, device)
    check = Check(corpus, features, settings.check)
    training.record(settings, arguments.run)
    last = fit(
        model.to(device), Loss(settings.crop.carry), batches, settings.train, arguments.run,
        validate=check, device=device,
    )  # fmt: skip
    told = f"samplernn-pase-infer in.wav out.wav --checkpoint {arguments.run}"
    print(f"{arguments.run}: trained to step {last}; try: {told}")


def with_speakers(
    config: SampleRNNPASEConfig, corpus: Corpus, features: Features
) -> tuple[SampleRNNPASEConfig, Vectors | None]:
    """The config with what the corpus knows: who made acoustic fields, who speaks, and vectors a provider made."""
    from .speaker import recorded
    from .speaker_vectors import read

    if features.acoustic == "ahocoder":
        config = replace(config, content=replace(config.content, acoustic="ahocoder"))
    if not config.speakers and (config.speaker.size or config.content.by_speaker):
        names = sorted({entry.speaker for entry in features.usable(corpus.split("train"))})
        config = replace(config, speakers=tuple(names))
    if not config.speaker.source:
        return config, None
    given = read(corpus.folder / "features" / f"speakers-{config.speaker.source}.npz")
    return replace(config, speaker=recorded(config.speaker, given)), given


def initial(config: SampleRNNPASEConfig, features: Features, given: Vectors | None, init: Any = None) -> SampleRNNPASE:
    """A new model that knows the statistics of its content and the vectors of its speakers, or --init's weights."""
    from vocoder_core.speakers import Speakers

    from .model import SampleRNNPASE
    from .speaker import Given, begin

    model = training.initial(SampleRNNPASE, config, init)
    if init is None:
        model.content.set_statistics(features.statistics)
        if given is not None and isinstance(model.voices, Given):
            model.voices.fill(given)
        elif given is not None and isinstance(model.voices, Speakers):
            begin(model.voices.table, model.voices.names, given)
    return model


class Loss:
    """loss(model, batch) for `fit`: the model's own, and the tiers' states from chunk to chunk."""

    def __init__(self, carry: bool = True) -> None:
        self.carry = carry
        self.state: Any = None  # (1, B, H) of each frame tier

    def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
        """The loss with gradient, the same in bits, and how many samples it is a mean of."""
        made = model(
            batch.wav, batch.content, batch.speaker, state=self.state if self.carry else None, reset=batch.reset,
            pitch=batch.pitch, noise=batch.noise,
        )  # fmt: skip
        whole = getattr(model, "module", model)  # several processes: `module` is the model itself
        self.state = made.state
        figures: dict[str, Any] = whole.loss(made, batch.active)
        return figures | {"samples": batch.active.sum()}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: the states."""
        return {"state": None if self.state is None else list(self.state)}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.state = None if values["state"] is None else tuple(values["state"])


if __name__ == "__main__":
    raise SystemExit(main())
