#!/usr/bin/env python3
"""Make shared-audio/golden/: small arrays that other people's code computes from real speech, for our tests to meet.

    pip install --target ORACLES --no-deps torchaudio==2.11.0 univoc==0.2.1 omegaconf importlib_resources \\
        antlr4-python3-runtime==4.9.3
    git clone https://github.com/tarepan/UniversalVocoding SEED          # commit 79d0579
    python tools/make_golden.py --oracles ORACLES --rnnms-seed SEED      # plus librosa, pyloudnorm, soxr

mel.npz      log-mels by librosa (all presets) and torchaudio       loudness.npz  BS.1770 loudness by pyloudnorm
mulaw.npz    codes and waves by librosa and torchaudio              rnnms.npz     logits, labels and the front end
                                                                                  of the two public RNN_MS networks
Nothing of ours is imported here, and none of the oracles' code is kept. Same versions, same bytes.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import soxr
import torch

from golden_rnnms import networks

ROOT = Path(__file__).resolve().parents[1]
Arrays = dict[str, np.ndarray]


def clip(name: str, rate: int = 16000, start: float = 0.0, seconds: float = 0.6) -> np.ndarray:
    """A piece of shared-audio at a rate, on the 16-bit grid, (T,) int16."""
    wav, source_rate = soundfile.read(ROOT / "shared-audio" / f"{name}.flac", dtype="float64")
    wav = soxr.resample(wav, source_rate, rate, "HQ") if rate != source_rate else wav
    wav = wav[round(start * rate) : round((start + seconds) * rate)]
    return np.round(wav * 32768).clip(-32768, 32767).astype(np.int16)


# ---- log-mels: each front end as its project writes it, numbers and all


def mels() -> Arrays:
    """The six presets by librosa, in float64."""
    out: Arrays = {}

    def keep(name: str, wav: np.ndarray, mel: np.ndarray) -> None:
        out[f"{name}_wav"], out[f"{name}_mel"] = wav, mel.astype(np.float32)

    wav = clip("austen/austen_64kb-0880", start=0.5)
    mel = librosa.feature.melspectrogram(
        y=librosa.effects.preemphasis(wav / 32768, coef=0.97), sr=16000, n_fft=2048, win_length=800, hop_length=200,
        n_mels=80, fmin=50, norm=1, power=1, pad_mode="reflect",
    )  # fmt: skip
    keep("rnnms16", wav, np.maximum(librosa.amplitude_to_db(mel, top_db=None) - 20, -80) / 80)

    def plain(
        name: str, wav: np.ndarray, rate: int, n_fft: int, win: int, hop: int, n: int, low: int, high: int
    ) -> None:
        mel = librosa.feature.melspectrogram(
            y=wav / 32768, sr=rate, n_fft=n_fft, win_length=win, hop_length=hop, n_mels=n, fmin=low, fmax=high,
            power=1, pad_mode="reflect",
        )  # fmt: skip
        keep(name, wav, np.log(np.maximum(mel, 1e-5)))

    plain("waveglow22", clip("slt/arctic_a0009", 22050, 0.5), 22050, 1024, 1024, 256, 80, 0, 8000)
    plain("specgrad24", clip("ivrvoice/ru-demo-thanks", 24000, 0.5), 24000, 2048, 1200, 300, 128, 20, 12000)
    plain("asr16", clip("ru_nsh/ru_0027", 16000, 0.5), 16000, 1024, 1024, 256, 80, 0, 8000)
    plain("libri24", clip("slt/arctic_a0007", 24000, 0.5), 24000, 1024, 1024, 256, 100, 0, 12000)

    wav = clip("carlo/it-demo-thanks", 22050, 0.5)
    padded = np.pad(wav / 32768, (1024 - 256) // 2, mode="reflect")
    spectrum = librosa.stft(padded, n_fft=1024, hop_length=256, center=False)
    mel = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=0, fmax=8000, dtype=np.float64) @ np.sqrt(
        spectrum.real**2 + spectrum.imag**2 + 1e-9
    )
    keep("hifi22", wav, np.log(np.maximum(mel, 1e-5)))
    return out


def torchaudio_mels(torchaudio: Any) -> Arrays:
    """16 kHz log10 power mels, both mel scales, by torchaudio in float64."""
    wav = clip("ru_nsh/ru_0087", start=0.5)
    out: Arrays = {"torchaudio_wav": wav}
    for scale, norm in (("slaney", "slaney"), ("htk", None)):
        transform = torchaudio.transforms.MelSpectrogram(
            16000, 1024, 800, 256, 20.0, 7600.0, n_mels=80, power=2.0, center=True, pad_mode="reflect",
            norm=norm, mel_scale=scale,
        ).double()  # fmt: skip
        mel = transform(torch.from_numpy(wav / 32768))
        out[f"torchaudio_{scale}_mel"] = mel.clamp(min=1e-10).log10().float().numpy()
    return out


# ---- mu-law and loudness


def mulaw(torchaudio: Any) -> Arrays:
    """Codes of real speech by librosa at three depths, and what librosa and torchaudio decode every 10-bit code to."""
    wav = clip("ivrvoice/ru-demo-thanks", start=0.5, seconds=0.25)
    out: Arrays = {"wav": wav}
    for bits in (6, 8, 10, 12, 16):
        codes = librosa.mu_compress(wav / 32768, mu=2**bits - 1, quantize=True) + 2 ** (bits - 1)
        out[f"librosa_codes_{bits}"] = codes.astype(np.uint16)
    every = np.arange(1024)
    out["librosa_decoded_10"] = librosa.mu_expand(every - 512, mu=1023, quantize=True).astype(np.float64)
    out["torchaudio_decoded_10"] = torchaudio.functional.mu_law_decoding(torch.arange(1024), 1024).numpy()
    return out


def loudness() -> Arrays:
    """Integrated loudness (LUFS) of clips at their rate and at 44.1 and 48 kHz, by pyloudnorm.

    Cut to whole tenths of a second: pyloudnorm counts a last block that the signal does not fill.
    """
    import pyloudnorm

    names = ["austen/austen_64kb-0880", "carlo/it-demo-thanks", "ru_nsh/ru_0073", "slt/arctic_a0009"]
    rates = (16000, 44100, 48000)
    tenths = [len(clip(name, seconds=60)) // 1600 for name in names]
    values = [
        [pyloudnorm.Meter(rate).integrated_loudness(clip(name, rate, 0, n / 10) / 32768) for rate in rates]
        for name, n in zip(names, tenths)
    ]
    arrays = {"clips": names, "tenths": tenths, "rates": rates, "lufs": values}
    return {key: np.array(value) for key, value in arrays.items()}


# ---- oracles that need help to be imported


def import_torchaudio() -> Any:
    """torchaudio without its native library, which fails to load beside a CPU build of torch."""
    stub = types.ModuleType("torchaudio._extension")
    stub.__dict__.update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False, _IS_ALIGN_AVAILABLE=False, __path__=[],
        fail_if_no_align=lambda function: function, _check_cuda_version=lambda: None,
    )  # fmt: skip
    sys.modules["torchaudio._extension"] = stub
    import torchaudio

    return torchaudio


def main() -> None:
    """Make every file whose oracle was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracles", type=Path, required=True, help="folder with torchaudio and univoc")
    parser.add_argument("--rnnms-seed", type=Path, required=True, help="checkout of tarepan/UniversalVocoding")
    parser.add_argument("--out", type=Path, default=ROOT / "shared-audio" / "golden")
    arguments = parser.parse_args()
    sys.path.append(str(arguments.oracles))
    torch.set_num_threads(1)
    torchaudio = import_torchaudio()
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = {
        "mel": mels() | torchaudio_mels(torchaudio),
        "mulaw": mulaw(torchaudio),
        "loudness": loudness(),
        "rnnms": networks(arguments.rnnms_seed, clip("austen/austen_64kb-0880", start=0.5, seconds=0.7)),
    }
    for name, arrays in files.items():
        path = arguments.out / f"{name}.npz"
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB, {len(arrays)} arrays")


if __name__ == "__main__":
    main()
