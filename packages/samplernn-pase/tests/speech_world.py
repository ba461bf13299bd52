"""Real speech, prepared by the real command, and runs of the real command on it: what its gradients are told by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig, preprocess, train
from samplernn_pase.batches import Batches, CropConfig
from samplernn_pase.content import ContentConfig
from samplernn_pase.features import Features
from samplernn_pase.speaker import SpeakerConfig
from vocoder_core.corpus import Corpus

UTTERANCES = (  # 49 seconds, four speakers, three languages; and one held out
    "slt/arctic_a0007", "slt/arctic_a0009", "ru_nsh/ru_0003", "ru_nsh/ru_0018", "carlo/it-confbridge-lock-extended",
    "carlo/it-tt-allbusy", "ivrvoice/ru-confbridge-lock-extended", "ivrvoice/ru-tt-allbusy", "carlo/it-vm-nobox",
)  # fmt: skip
NAMES = ("carlo", "ivrvoice", "ru_nsh", "slt")
ACOUSTIC = ["--config", "world43", "--set", "model.speaker.provider=lookup"]  # the paper's acoustic mode, by names


@dataclass
class Run:
    """What a run said step by step: losses in nats, gradient norms before and after they were clipped."""

    folder: Path
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    clipped: list[float] = field(default_factory=list)
    bad_steps: int = 0

    def model(self) -> SampleRNNPASE:
        """As it is after the last step."""
        return SampleRNNPASE.from_pretrained(self.folder)


def table(folder: Path, rows: list[tuple[Path, str, str]]) -> Path:
    """A list of recordings: path, speaker, split."""
    lines = ["path\tspeaker\tsplit", *("\t".join(map(str, row)) for row in rows)]
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.tsv"


def prepared(shared_audio: Path, folder: Path) -> Path:
    """UTTERANCES as a prepared corpus with world43."""
    rows = [(shared_audio / f"{u}.flac", u.split("/")[0], "train") for u in UTTERANCES[:-1]]
    held_out = (shared_audio / f"{UTTERANCES[-1]}.flac", "carlo", "valid")
    return prepare(table(folder, [*rows, held_out]), folder / "data", *ACOUSTIC, "--f0", "dio")


def prepare(recordings: Path, data: Path, *options: str) -> Path:
    """By samplernn-pase-preprocess."""
    assert preprocess.main([str(recordings), str(data), "--jobs", "1", *options]) == 0
    return data


def trained(data: Path, folder: Path, *, steps: int, lr: float = 1e-3, size: int = 128, rows: int = 4,
            options: tuple[str, ...] = (), how: list[str] = ACOUSTIC) -> Run:  # fmt: skip
    """A run of samplernn-pase-train as the paper's code trains: Adam at one rate; but clipped at a norm of 1."""
    told = {
        "model.hidden_size": size, "train.lr": lr, "train.steps": steps, "train.batch_size": rows, "train.warmup": 0,
        "train.schedule": "constant", "train.ema": 0, "train.log_every": 1, "check.synthesize": 0, "check.clips": 1,
        "check.seconds": 1,
    }  # fmt: skip
    settings = [word for name, value in told.items() for word in ("--set", f"{name}={value}")]
    run = Run(folder)
    with clipped_norms(run.clipped):
        assert train.main([str(data), str(folder), *how, *settings, *options, "--device", "cpu"]) == 0
    rows_ = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    run.losses, run.norms = ([row[name] for row in rows_] for name in ("loss", "grad_norm"))
    run.bad_steps = rows_[-1]["bad_steps"]
    return run


@contextmanager
def clipped_norms(found: list[float]) -> Iterator[None]:
    """While entered, the norm of each gradient that an optimiser takes a step by."""

    def seen(optimizer: Any, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        found.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))

    handle = register_optimizer_step_pre_hook(seen)
    try:
        yield
    finally:
        handle.remove()


def network(data: Path, size: int = 24, **more: Any) -> SampleRNNPASE:
    """A small new network with the corpus's statistics, whose learned first states are not zero."""
    torch.manual_seed(0)
    config = SampleRNNPASEConfig(
        content=ContentConfig("world43"), speaker=SpeakerConfig(size=15), speakers=NAMES, hidden_size=size,
        embedding_size=16, conds_size=20, **more,
    )  # fmt: skip
    made = SampleRNNPASE(config).eval()
    made.content.set_statistics(Features.open(data, "world43").statistics)
    with torch.no_grad():
        for tier in (made.mid, made.top):
            tier.first.normal_(std=0.5)
    return made


def batches(data: Path, model: SampleRNNPASE, slots: int = 4, **crop: Any) -> Batches:
    """Training batches of the corpus."""
    corpus = Corpus.open(data)
    return Batches(corpus, Features.open(corpus, "world43"), model, CropConfig(**crop), slots, 0, "cpu")


def spoken(data: Path, name: str, first: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A wave (1, F 80) and its raw content (1, F, C), from a frame on, of the first utterance of a speaker."""
    corpus = Corpus.open(data)
    entry = next(entry for entry in corpus.entries if entry.speaker == name)
    wav = np.array(corpus.wav(entry))[first * 80 : (first + frames) * 80]
    told = np.array(Features.open(corpus, "world43").of(entry))[first : first + frames]
    return torch.from_numpy(wav)[None], torch.from_numpy(told)[None].float()
