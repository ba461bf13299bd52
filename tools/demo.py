"""make demo: the main job from end to end on the real speech in shared-audio/, on any machine, in a few minutes.

    recordings -> rnnms-preprocess -> rnnms-train (a tiny network, to show the road; it does not become intelligible)
    held-out recordings -> the weights shipped in each vocoder -> audio, score table, listening page

Everything is written under --out; running it again goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT / "shared-audio"
HEARD = ("austen", "slt", "ru_nsh", "carlo", "ivrvoice")  # the first two speakers no training set holds


def main() -> None:
    """The three steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "demo-out", help="folder for all results")
    parser.add_argument("--steps", type=int, default=200, help="training steps of the tiny network (default 200)")
    parser.add_argument("--clips", type=int, default=2, help="held-out clips per speaker (default 2)")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks are small: more threads wait more than they work
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()

    say("1. Prepare the recordings: one rate, one loudness, splits")
    command("rnnms-preprocess", SPEECH, out / "data", "--config", "tiny")
    say("2. Train a tiny network on them, to show that it learns (bits per sample fall)")
    command("rnnms-train", out / "data", out / "run", "--config", "tiny", "--set", f"train.steps={arguments.steps}")
    say("3. Copy held-out recordings with the weights that come with the vocoders, and score them")
    page, table = listen(out / "page", arguments.clips)
    print(f"\n{table}\nAudio and page: {page}\nIn all {time.perf_counter() - began:.0f} s")


def say(step: str) -> None:
    """A heading on the terminal."""
    print(f"\n== {step}", flush=True)


def command(name: str, *arguments: object) -> None:
    """Run a command of this environment as a user would and show what it prints; exit with its code if it fails."""
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if beside.exists() else shutil.which(name)
    if program is None:
        raise SystemExit(f"{name} is not installed here; run `make demo`, which installs it")
    line = [str(argument) for argument in arguments]
    print("$", name, *line, flush=True)
    code = subprocess.run([program, *line]).returncode
    if code:
        raise SystemExit(code)


def listen(folder: Path, count: int) -> tuple[Path, str]:
    """Copies of held-out clips by the shipped voices, beside the baselines; the page's path and the score table."""
    from tqdm import tqdm

    import rnnms.infer
    import samplernn_pase.infer
    import specgrad.infer
    import vqvaevc.infer
    import waveglow_vq.infer
    from rnnms import RNNMS
    from samplernn_pase import SampleRNNPASE
    from specgrad import SpecGrad
    from vocoder_core import audio
    from vocoder_core.report import Clip, write_page
    from vqvaevc import VQVAEVC
    from waveglow_vq import WaveGlowVQ

    early, model, flow = RNNMS.from_pretrained(), SpecGrad.from_pretrained(), WaveGlowVQ.from_pretrained()
    converter, tiers = VQVAEVC.from_pretrained(), SampleRNNPASE.from_pretrained()
    clips = []
    for row in tqdm(held_out(count), desc="copies", unit="clip", disable=None):
        wav, rate = audio.load(SPEECH / row["path"], model.sample_rate)
        unseen = row["speaker"] in HEARD[:2]
        clips.append(
            Clip(
                f"{row['speaker']} {row['utt']}",
                wav,
                {
                    "specgrad": specgrad.infer.copy(model, wav, rate, seed=0),
                    "waveglow-vq": waveglow_vq.infer.copy(flow, wav, rate, seed=0),
                    "rnnms": rnnms.infer.copy(early, wav, rate, seed=0),
                    "samplernn-pase": samplernn_pase.infer.copy(tiers, wav, rate, seed=0),
                    "vqvaevc": vqvaevc.infer.copy(converter, wav, rate, seed=0),
                    "as kathleen": vqvaevc.infer.copy(converter, wav, rate, speaker="kathleen", seed=0),
                },
                text=row["transcript"] or None,
                note="A speaker never heard in training." if unseen else "Speaker heard in training, this clip not.",
            )
        )
    page = write_page(
        folder,
        clips,
        model.sample_rate,
        title="Held-out speech and its copies",
        intro=["Every clip is held out of the training of the shipped weights; Griffin-Lim hears the mel of specgrad."],
        captions={
            "specgrad": "SpecGrad with the weights of the wheel, 4 steps.",
            "waveglow-vq": "WaveGlow with the weights of the wheel, settled on its mel.",
            "samplernn-pase": "SampleRNN with the weights of the wheel: early, settled on its mel; see its model card.",
            "vqvaevc": "The decoder of vqvaevc on the mel itself: early, settled on it; see its model card.",
            "as kathleen": "vqvaevc: the clip as codes, and in another voice: scores mean little here.",
            "rnnms": "RNN_MS with the weights of the wheel: an early voice, see its model card.",
        },
        mel=model.config.mel,
        metrics=["core", "pesq", "estoi", "vuv_f1", "f0_rmse"],  # seconds each; ViSQOL and WORLD's MCD would double it
        progress=True,
    )
    return page, (folder / "scores.md").read_text(encoding="utf-8")


def held_out(count: int) -> list[dict[str, str]]:
    """The first `count` test clips of each speaker in shared-audio."""
    with (SPEECH / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "test"]
    return [row for speaker in HEARD for row in [r for r in rows if r["speaker"] == speaker][:count]]


if __name__ == "__main__":
    main()
