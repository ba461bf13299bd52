"""What whole numbers cost: bits a sample of held-out speech by a float32 network and by its integer kernels.

    rnnms-preprocess shared-audio DATA --config small
    python tools/measure_tiers.py DATA [--checkpoint FOLDER] [--clips 24]
    python tools/measure_tiers.py DATA --vocoder samplernn-pase

Every sample is predicted from the true ones before it. Of each clip: bits by float32; how much more by a tier; and the
divergence of its distributions from float32's, in bits, which no luck with the samples can hide. Means over clips with
95 % bootstrap intervals. The same of vqvaevc: measure_codec_tiers.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from score_voice import cut, held_out
from voices import VOICES

if TYPE_CHECKING:
    from rnnms import RNNMS
    from samplernn_pase import SampleRNNPASE
    from vocoder_core.recurrent.integers import Tier

TIERS: tuple[Tier, ...] = ("int8", "int16")
Said = tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]  # log-probabilities (T, Q), labels (T,), of each tier


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus prepared by the vocoder's X-preprocess")
    parser.add_argument("--vocoder", choices=sorted(SAID), default="rnnms", help="default: rnnms")
    parser.add_argument("--checkpoint", type=Path, help="default: the weights in the package")
    parser.add_argument("--clips", type=int, default=24, help="held-out utterances (default 24)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each at most (default 4)")
    parser.add_argument("--split", default="test", help="of the corpus (default test)")
    arguments = parser.parse_args()

    from vocoder_core.corpus import Corpus
    from vocoder_core.metrics import summarise

    model = VOICES[arguments.vocoder].vocoder().from_pretrained(arguments.checkpoint)
    corpus = Corpus.open(arguments.data)
    chosen = held_out(corpus, arguments.split, arguments.clips)
    rows = []
    for entry in (entry for entries in chosen.values() for entry in entries):
        with torch.inference_mode():
            rows.append(
                figures(*SAID[arguments.vocoder](model, torch.from_numpy(cut(corpus, entry, arguments.seconds))))
            )
        print(entry.id, *(f"{name} {value:.5f}" for name, value in rows[-1].items()), flush=True)
    print("\n| bits a sample | n | mean [95 %] |\n|:--|--:|--:|")
    for name, (mean, low, high, n) in summarise(rows).items():
        print(f"| {name} | {n} | {mean:.5f} [{low:.5f}, {high:.5f}] |")


def figures(exact: torch.Tensor, label: torch.Tensor, tiers: dict[str, torch.Tensor]) -> dict[str, float]:
    """Bits a sample of a clip."""
    bits = -exact.gather(1, label[:, None]).mean() / log(2)
    made = {"float32": float(bits)}
    for tier, said in tiers.items():
        own = -said.gather(1, label[:, None]).mean() / log(2)
        made[f"{tier}, more than float32"] = float(own - bits)
        made[f"{tier}, divergence"] = float((exact.exp() * (exact - said)).sum(1).mean() / log(2))
    return made


def rnnms_said(model: RNNMS, wav: torch.Tensor) -> Said:
    """Of a wave (T,)."""
    from rnnms import kernel
    from rnnms.packed import Packed
    from vocoder_core.mel import log_mel

    latents, codes = model.encode(log_mel(wav, model.config.mel)[None]), model.labels(wav[None])
    before = torch.cat([torch.full((1, 1), 2 ** (model.config.bits - 1)), codes[:, :-1]], 1)
    exact = model.decoder(latents, before)[0][0].double().log_softmax(1)
    told, lines = latents.contiguous().numpy(), (before.numpy().copy(),)
    return exact, codes[0], {
        tier: stepped(Packed(model.decoder, 1, tier), kernel.advance, told, lines, len(wav)) for tier in TIERS
    }  # fmt: skip


def samplernn_pase_said(model: SampleRNNPASE, wav: torch.Tensor) -> Said:
    """Of a wave (F hop,), by nobody known; float32 by its own kernel, which the training pass is held against."""
    from samplernn_pase import kernel
    from samplernn_pase.check import heard_pass
    from samplernn_pase.generate import told_of
    from samplernn_pase.listening import hear
    from samplernn_pase.packed import Packed

    heard, trained = hear(model, wav), heard_pass(model, wav.numpy())
    content = heard.content.transpose(1, 2) if model.config.content.kind == "mel80" else heard.content
    frames = told_of(model, content, None, heard.pitch, heard.normal)
    advance = kernel.advance_excitations if model.config.labels.order else kernel.advance_waves
    said = {}
    for tier in (None, *TIERS):
        packed = Packed(model, 1, tier)
        told = packed.told(frames, slice(0, 1))
        said[str(tier)] = stepped(packed, advance, told, past(model, packed, wav, trained.targets), len(wav))
    exact = said.pop("None")
    off = (exact - trained.logits[0].double().log_softmax(1)).abs().quantile(0.99)
    assert off < 1e-3, f"the kernel is told what training is told, but its log-probabilities are {off:.3g} off"
    return exact, trained.targets[0], said


def past(model: SampleRNNPASE, packed: Any, wav: torch.Tensor, codes: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Lines of samplernn-pase's kernel that hold a recording (T,) and its codes (1, T), silence before them."""
    from samplernn_pase import labels
    from vocoder_core import excitation, mulaw

    lab = model.config.labels
    both = torch.stack([codes, mulaw.encode(wav[None], lab.bits)], dim=1)
    heard = excitation.companded(both, lab.classes) if lab.order else labels.decode(codes, lab)[:, None]
    true = (codes, heard, wav[None]) if lab.order else (codes, heard)
    pairs = zip(packed.past(), true)
    return tuple(np.concatenate([line, x.numpy().astype(line.dtype)], axis=-1) for line, x in pairs)


def stepped(packed: Any, advance: Any, told: Any, lines: tuple[np.ndarray, ...], samples: int) -> torch.Tensor:
    """Log-probabilities (T, Q) of a kernel of one row that hears what the lines hold."""
    work = packed.work(slice(0, 1))
    said = np.empty((samples, work.logits.shape[1]), np.float32)
    for t in range(samples):
        advance(packed.net, work, told, lines, t, 0)
        said[t] = work.logits[0]
    return torch.from_numpy(said).double().log_softmax(1)


SAID: dict[str, Callable[[Any, torch.Tensor], Said]] = {"rnnms": rnnms_said, "samplernn-pase": samplernn_pase_said}


if __name__ == "__main__":
    main()
