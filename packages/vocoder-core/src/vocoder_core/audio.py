"""Audio in and out: read, write, resample and level speech as float32 arrays (T,).

Files go through libsndfile (soundfile), rates through soxr "HQ" (what librosa.load uses too). Loudness is integrated
loudness after ITU-R BS.1770-4, one channel; the K-weighting filters are the analogue prototypes behind the standard's
table for 48 kHz (B. De Man, "Evaluation of implementations of the EBU R128 loudness measurement", 2018), so that any
sample rate works. A file that cannot be read ends in one ValueError or FileNotFoundError, one sentence that names it.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

AUDIO_SUFFIXES = frozenset(".wav .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .w64 .rf64 .caf .au .sph".split())
SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".ogg": "VORBIS"}
MIN_RATE, MAX_RATE = 4_000, 384_000  # Hz; a header outside these is a lie that would cost gigabytes once resampled
MAX_PEAK = 16.0  # +24 dB: louder float samples are not audio in [-1, 1] but, for instance, integers in disguise
BLOCK_SECONDS, STEP_SECONDS = 0.4, 0.1  # BS.1770-4: blocks of 400 ms, overlapping by 75 %
SHELF_HZ, SHELF_DB, SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
CUT_HZ, CUT_Q = 38.13547087602444, 0.5003270373238773
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0  # LUFS, LU


def load(path: str | os.PathLike[str], sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Read a file as mono float32 (T,), the mean of its channels, resampled to `sample_rate` Hz when that is given.

    Full scale is [-1, 1]; nothing is clipped, so float files and resampling may pass it a little.
    Raises FileNotFoundError when there is no such file, ValueError when it is empty, cut short, not audio, not finite,
    not readable or not a file. A cut is seen in WAV, AIFF, FLAC and MP3; Ogg keeps no length and plays up to its cut.
    """
    path = Path(path)
    _check_file(path)
    wav, source_rate = _decode(path)
    if wav.size == 0:
        raise ValueError(f"{path}: the file holds no samples")
    if not MIN_RATE <= source_rate <= MAX_RATE:
        raise ValueError(f"{path}: the sample rate is {source_rate} Hz, expected {MIN_RATE} to {MAX_RATE} Hz")
    peak = float(np.max(np.abs(wav)))  # NaN and inf survive max, so one pass answers both questions
    if not math.isfinite(peak):
        raise ValueError(f"{path}: the file holds NaN or infinite samples")
    if peak > MAX_PEAK:
        raise ValueError(f"{path}: samples reach {peak:.6g}, expected full scale to be 1.0: rescale the file")
    if sample_rate is None:
        return wav, source_rate
    return resample(wav, source_rate, sample_rate), sample_rate


def save(path: str | os.PathLike[str], wav: ArrayLike, sample_rate: int) -> None:
    """Write `wav` (T,), array or tensor in [-1, 1], by suffix: .wav and .flac as 16-bit PCM, .ogg as Vorbis.

    Samples are rounded by `to_int16`. The file appears whole or not at all: it is written beside its place and renamed.
    """
    from .streaming.writer import Writer

    codes = to_int16(_one_channel(wav))
    with Writer(path, sample_rate) as out:
        out.write(codes)


def to_int16(wav: np.ndarray) -> np.ndarray:
    """Round [-1, 1] to 16 bits: rint(32768 x), half to even, clamped to [-32768, 32767]; `load` divides by 32768."""
    if not np.isfinite(wav).all():
        raise ValueError("the signal holds NaN or infinite samples, expected finite numbers in [-1, 1]")
    scaled = np.rint(np.asarray(wav, np.float32) * np.float32(32768.0))
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def resample(wav: ArrayLike, source_rate: int, target_rate: int) -> np.ndarray:
    """Change the rate of `wav` (T,) from `source_rate` to `target_rate` Hz: (round(T target / source),), float32."""
    import soxr

    wave = _one_channel(wav)
    if source_rate <= 0 or target_rate <= 0:
        raise ValueError(f"cannot resample from {source_rate} to {target_rate} Hz, expected positive rates")
    if source_rate == target_rate or wave.size == 0:
        return wave
    return np.asarray(soxr.resample(wave, source_rate, target_rate, quality="HQ"), np.float32)


def loudness(wav: ArrayLike, sample_rate: int) -> float:
    """Integrated loudness of `wav` (T,) in LUFS (ITU-R BS.1770-4, one channel).

    -inf for silence (no block above the gate of -70 LUFS) and for signals under 0.4 s, which hold no whole block.
    A sine of 997 Hz at full scale reads -3.01 LUFS.
    """
    powers = _block_powers(_one_channel(wav), sample_rate)
    loud = powers[powers > _power(ABSOLUTE_GATE)]
    if loud.size == 0:
        return -math.inf
    loud = loud[loud > np.mean(loud) * 10 ** (RELATIVE_GATE / 10)]
    return float(-0.691 + 10 * np.log10(np.mean(loud)))


def set_loudness(
    wav: ArrayLike, sample_rate: int, target: float = -24.0, peak: float = 0.999
) -> tuple[np.ndarray, float]:
    """Scale `wav` (T,) to `target` LUFS, or less where its highest sample would pass `peak`.

    Returns the scaled wave and the linear gain. Silence and signals under 0.4 s are only kept below `peak`.
    """
    wave = _one_channel(wav)
    gain = loudness_gain(wave, sample_rate, target, peak)
    return wave * np.float32(gain), gain


def set_peak(wav: ArrayLike, level_db: float) -> tuple[np.ndarray, float]:
    """Scale `wav` (T,) so that its highest sample is at level_db dBFS, by 120 dB at most; the wave and the gain."""
    wave = _one_channel(wav)
    gain = 10 ** (level_db / 20) / float(np.max(np.abs(wave), initial=1e-6))
    return wave * np.float32(gain), gain


def loudness_gain(wave: np.ndarray, sample_rate: int, target: float = -24.0, peak: float = 0.999) -> float:
    """The linear gain of `set_loudness`."""
    measured = loudness(wave, sample_rate)
    gain = 10 ** ((target - measured) / 20) if math.isfinite(measured) else 1.0
    highest = float(np.max(np.abs(wave), initial=0.0))
    return min(gain, peak / highest) if highest > 0 else gain


def k_weighting(sample_rate: int) -> np.ndarray:
    """The two biquads of BS.1770-4 (head shelf, then low cut) as second-order sections (2, 6) for any rate in Hz."""
    k, q = math.tan(math.pi * SHELF_HZ / sample_rate), SHELF_Q
    high, band = 10 ** (SHELF_DB / 20), 10 ** (SHELF_DB / 20 * 0.4996667741545416)
    a0 = 1 + k / q + k * k
    shelf = [(high + band * k / q + k * k) / a0, 2 * (k * k - high) / a0, (high - band * k / q + k * k) / a0]
    shelf += [1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    k, a0 = math.tan(math.pi * CUT_HZ / sample_rate), _low_cut_a0(sample_rate)
    # The table for 48 kHz has the numerator 1, -2, 1: a passband gain of a0(48 kHz), +0.04 dB, kept at every rate.
    gain = _low_cut_a0(48_000) / a0
    low_cut = [gain, -2 * gain, gain, 1.0, 2 * (k * k - 1) / a0, (1 - k / CUT_Q + k * k) / a0]
    return np.array([shelf, low_cut])


def _low_cut_a0(sample_rate: int) -> float:
    k = math.tan(math.pi * CUT_HZ / sample_rate)
    return 1 + k / CUT_Q + k * k


def _block_powers(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean square of the K-weighted wave over every whole block of 400 ms, one each 100 ms."""
    from scipy.signal import sosfilt

    block = round(BLOCK_SECONDS * sample_rate)
    if wave.size < block:
        return np.empty(0)
    weighted = sosfilt(k_weighting(sample_rate), wave.astype(np.float64))
    energy = np.concatenate([[0.0], np.cumsum(weighted * weighted)])
    count = int((wave.size - block) / (STEP_SECONDS * sample_rate)) + 1
    starts = np.rint(np.arange(count) * STEP_SECONDS * sample_rate).astype(np.int64)
    return (energy[starts + block] - energy[starts]) / block


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _one_channel(wav: ArrayLike) -> np.ndarray:
    """An array or tensor as float32 (T,)."""
    if hasattr(wav, "detach"):
        wav = wav.detach().cpu()  # a torch tensor, which this module does not import
    wave = np.asarray(wav, np.float32)
    if wave.ndim != 1:
        raise ValueError(f"expected one channel of shape (T,), got {wave.shape}: pass one row at a time")
    return wave


def _check_file(path: Path) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except OSError as error:  # a symlink loop, a folder that may not be entered, a name too long
        raise ValueError(f"{path}: cannot be opened ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise ValueError(f"{path}: is {kind}, expected an audio file")
    if status.st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes)")
    try:
        open(path, "rb").close()
    except OSError as error:
        raise ValueError(f"{path}: cannot be opened ({error.strerror})") from None


def _decode(path: Path) -> tuple[np.ndarray, int]:
    """Mono mean of all channels, block by block, so that neither eight channels nor a lying header fill the memory."""
    import soundfile

    try:
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else path) as file:  # not all names are UTF-8
            promised, rate, blocks = file.frames, file.samplerate, []
            while (block := file.read(1 << 20, dtype="float32", always_2d=True)).size:
                blocks.append(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32))
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise ValueError(f"{path}: not readable as audio, or cut short ({reason(error)})") from None
    wav = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    missing = _missing_bytes(path)
    if missing > 0:
        raise ValueError(f"{path}: the file is cut short, {missing} of the bytes that its header promises are missing")
    if wav.size < 0.99 * promised:  # MP3 headers round the length
        raise ValueError(f"{path}: the file is cut short, {wav.size} of {promised} promised samples came")
    return wav, rate


def _missing_bytes(path: Path) -> int:
    """How many bytes of its sound chunk a RIFF or AIFF file lacks; libsndfile plays up to the cut unasked."""
    with open(path, "rb") as file:
        form = file.read(12)[:4]
        if form not in (b"RIFF", b"FORM"):
            return 0
        order, wanted = ("little", b"data") if form == b"RIFF" else ("big", b"SSND")
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], order)  # type: ignore[arg-type]
            if head[:4] == wanted:
                here = file.tell()
                # recorders that write into a pipe leave the length open with one of these values
                return 0 if size == 0 or size >= 0x7FFF0000 else size - (file.seek(0, os.SEEK_END) - here)
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0


def reason(error: Exception) -> str:
    """libsndfile's words, except where they mislead: an MP3 without a single frame is "not a regular file"."""
    words = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return "no sound found in it" if "not a regular file" in words else words
