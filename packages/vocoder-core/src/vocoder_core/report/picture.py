"""Spectrogram pictures as PNG, written with zlib and numpy: nothing to install, nothing to plot."""

from __future__ import annotations

import struct
import zlib

import numpy as np

ROWS = 192  # pixels, 0 Hz at the bottom, half the sample rate at the top
COLUMNS_PER_SECOND, MAX_COLUMNS = 160, 1600
RANGE_DB = 80.0
LEVELS = 64  # fewer than 256: half the bytes, and no eye tells them apart
# nine points of matplotlib's "magma" (CC0), dark to light; perceptually uniform
MAGMA = np.array(
    "0 0 4  28 16 68  79 18 123  129 37 129  181 54 122  229 80 100  251 135 97  254 194 135  252 253 191".split(),
    float,
).reshape(9, 3)


def power_db(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Spectrogram (ROWS, columns) of a wave (T,) in dB, row 0 the highest band: 32 ms Hann windows, powers averaged."""
    size = 2 ** round(np.log2(0.032 * sample_rate))
    hop = max(1, sample_rate // COLUMNS_PER_SECOND, -(-len(wav) // MAX_COLUMNS))
    padded = np.pad(np.asarray(wav, dtype=np.float64), (size // 2, size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(wav) + 1 : hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)[:, : size // 2]) ** 2
    edges = np.linspace(0, power.shape[1], ROWS + 1)
    sums = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    bands = np.stack([np.interp(edges, np.arange(sums.shape[1]), row) for row in sums])
    return 10 * np.log10(np.maximum(np.diff(bands, axis=1), 1e-12)).T[::-1]


def spectrogram_png(wav: np.ndarray, sample_rate: int, peak_db: float) -> bytes:
    """PNG of a wave (T,); the colours span RANGE_DB below peak_db, so that pictures with one peak can be compared."""
    level = 1 + (power_db(wav, sample_rate) - peak_db) / RANGE_DB
    return indexed_png(np.rint(np.clip(level, 0, 1) * (LEVELS - 1)).astype(np.uint8), palette(LEVELS))


def palette(levels: int) -> np.ndarray:
    """MAGMA interpolated to (levels, 3) uint8."""
    at = np.linspace(0, len(MAGMA) - 1, levels)
    return np.rint([np.interp(at, np.arange(len(MAGMA)), channel) for channel in MAGMA.T]).T.astype(np.uint8)


def indexed_png(pixels: np.ndarray, colours: np.ndarray) -> bytes:
    """PNG bytes (ISO/IEC 15948) of palette indices (height, width) uint8 and colours (n <= 256, 3) uint8."""
    height, width = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1)  # each row begins with filter type 0
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
