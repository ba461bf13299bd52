"""Mu-law codes: nearest cell, odd-symmetric, half a cell of error at most; and univoc's, code for code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder_core.mulaw import decode, encode

BITS = range(6, 17)
CODECS = ("round", "librosa", "midpoint")


def compand(x: torch.Tensor, bits: int) -> torch.Tensor:
    """G.711's law with mu = 2^bits - 1, float64."""
    mu = 2.0**bits - 1
    return x.double().sign() * torch.log1p(mu * x.double().abs()) / np.log1p(mu)


def dense(points: int = 20001) -> torch.Tensor:
    return torch.linspace(-1, 1, points, dtype=torch.float64)


def sine(dbfs: float, samples: int = 40000) -> torch.Tensor:
    """An irrational frequency, so that every phase is met."""
    t = torch.arange(samples, dtype=torch.float64)
    return 10 ** (dbfs / 20) * torch.sin(2 * torch.pi * 0.0137 * np.sqrt(2) * t)


def snr(clean: torch.Tensor, coded: torch.Tensor) -> float:
    return float(10 * torch.log10(clean.square().sum() / (clean - coded).square().sum()))


# ---- ours: codec="round"


@pytest.mark.parametrize("bits", BITS)
def test_the_error_is_half_a_cell_at_most(bits: int) -> None:
    cell = 1 / (2 ** (bits - 1) - 1)
    x = dense()
    error = compand(decode(encode(x, bits), bits), bits) - compand(x, bits)
    # the wave comes back in float32: that is all above half a cell
    assert error.abs().max() <= cell / 2 + 1e-6
    assert error.abs().max() > 0.49 * cell, "cells as wide as they are said to be"


@pytest.mark.parametrize("bits", BITS)
def test_the_code_is_the_nearest_of_all(bits: int) -> None:
    x = dense(501)
    companded = compand(decode(torch.arange(1, 2**bits), bits), bits)  # every cell's centre
    nearest = (compand(x, bits)[:, None] - companded[None]).abs().argmin(1) + 1
    codes = encode(x, bits)
    distance = (companded[codes - 1] - compand(x, bits)).abs() - (companded[nearest - 1] - compand(x, bits)).abs()
    assert distance.max() < 1e-6, "a tie at a cell's edge may fall either way"


@pytest.mark.parametrize("bits", BITS)
def test_every_code_decodes_to_the_centre_that_encodes_to_it(bits: int) -> None:
    codes = torch.arange(1, 2**bits)
    wav = decode(codes, bits)
    assert wav.dtype == torch.float32
    assert torch.equal(encode(wav, bits), codes)
    assert (wav.diff() > 0).all()


@pytest.mark.parametrize("bits", BITS)
def test_odd_symmetric_to_the_last_bit(bits: int) -> None:
    half, mu = 2 ** (bits - 1), 2.0**bits - 1
    # where two cells meet, some of these are ties to the last bit
    edges = torch.expm1((torch.arange(half - 1) + 0.5).double() / (half - 1) * np.log1p(mu)) / mu
    x = torch.cat([dense(), edges])
    codes, mirrored = encode(x, bits), encode(-x, bits)
    assert torch.equal(codes + mirrored, torch.full_like(codes, 2**bits))
    assert torch.equal(decode(mirrored, bits), -decode(codes, bits))
    assert encode(torch.zeros(1), bits).item() == 2 ** (bits - 1)
    assert decode(torch.tensor([2 ** (bits - 1)]), bits).item() == 0.0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("bits", [6, 8, 10, 16])
def test_full_scale_and_beyond_is_safe(bits: int, codec: str) -> None:
    loud = torch.tensor([-torch.inf, -1e9, -1.0001, -1.0, 1.0, 1.0001, 1e9, torch.inf])
    codes = encode(loud, bits, codec)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() == 2**bits - 1
    wav = decode(codes, bits, codec)
    assert wav.abs().max() <= 1
    assert torch.equal(codes[:4], codes[:1].expand(4))
    assert torch.equal(codes[4:], codes[-1:].expand(4))
    assert decode(torch.arange(2**bits), bits, codec).abs().max() <= 1


@pytest.mark.parametrize("codec", CODECS)
def test_nan_is_refused_with_a_sentence(codec: str) -> None:
    with pytest.raises(ValueError, match="NaN samples"):
        encode(torch.tensor([0.0, torch.nan]), 10, codec)


def test_shapes_empty_waves_and_float_kinds() -> None:
    x = torch.rand(2, 3, 5) * 2 - 1
    assert encode(x, 10).shape == decode(encode(x, 10), 10).shape == (2, 3, 5)
    assert encode(torch.zeros(0), 10).shape == decode(torch.zeros(0, dtype=torch.int64), 10).shape == (0,)
    assert torch.equal(encode(x.double(), 10), encode(x, 10))
    assert torch.equal(decode(encode(x, 8).to(torch.int16), 8), decode(encode(x, 8), 8))


@pytest.mark.parametrize("bits", [5, 17, 0, -1])
def test_depths_outside_6_to_16_are_refused(bits: int) -> None:
    for call in (lambda: encode(torch.zeros(1), bits), lambda: decode(torch.zeros(1, dtype=torch.int64), bits)):
        with pytest.raises(ValueError, match=f"bits is {bits}; expected 6 to 16"):
            call()


@pytest.mark.parametrize("code", [-1, 1024])
def test_codes_outside_are_refused(code: int) -> None:
    with pytest.raises(ValueError, match="10 bits hold 0 to 1023"):
        decode(torch.tensor([5, code]), 10)


def test_an_unknown_codec_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'g711'; expected one of round, librosa, midpoint"):
        encode(torch.zeros(1), 10, "g711")  # type: ignore[arg-type]


# ---- univoc's: codec="librosa", and its better decoder


@pytest.mark.parametrize("bits", [6, 8, 10, 12, 16])
def test_codes_of_real_speech_equal_the_ones_librosa_left(bits: int, golden: Path) -> None:
    with np.load(golden / "mulaw.npz") as arrays:
        wav, wanted = torch.from_numpy(arrays["wav"] / 32768), arrays[f"librosa_codes_{bits}"].astype(np.int64)
    for codec in ("librosa", "midpoint"):
        np.testing.assert_array_equal(encode(wav, bits, codec).numpy(), wanted)


def test_decoded_codes_equal_the_ones_librosa_left(golden: Path) -> None:
    with np.load(golden / "mulaw.npz") as arrays:
        wanted = arrays["librosa_decoded_10"]
    np.testing.assert_allclose(decode(torch.arange(1024), 10, "librosa").numpy(), wanted, rtol=0, atol=1e-7)


@pytest.mark.parametrize("bits", [6, 8, 9, 10, 16])
def test_equals_librosa_live(bits: int) -> None:
    librosa = pytest.importorskip("librosa")
    x = torch.cat([dense(4001), sine(-20, 2000)])
    wanted = librosa.mu_compress(x.numpy(), mu=2**bits - 1, quantize=True) + 2 ** (bits - 1)
    assert wanted.min() == 0
    assert wanted.max() == 2**bits - 1
    np.testing.assert_array_equal(encode(x, bits, "librosa").numpy(), wanted)
    every = np.arange(2**bits)
    expanded = librosa.mu_expand(every - 2 ** (bits - 1), mu=2**bits - 1, quantize=True)
    np.testing.assert_allclose(decode(torch.from_numpy(every), bits, "librosa").numpy(), expanded, rtol=0, atol=1e-7)


@pytest.mark.parametrize("bits", [6, 8, 10, 16])
def test_midpoint_decodes_librosas_codes_to_the_middle_of_their_cells(bits: int) -> None:
    cell = 2 / (2**bits - 1)
    x = dense()[1:]  # -1 alone has a code of its own, at the lower edge of no cell
    error = compand(decode(encode(x, bits, "midpoint"), bits, "midpoint"), bits) - compand(x, bits)
    assert error.abs().max() <= cell / 2 + 1e-6
    biased = compand(decode(encode(x, bits, "librosa"), bits, "librosa"), bits) - compand(x, bits)
    assert biased.abs().max() > 0.98 * cell, "univoc's own decoder is half a cell further off at full scale"


@pytest.mark.parametrize(
    ("decoder", "wanted"),
    [
        ("librosa", (42.96, 44.61, 45.27)),
        ("torchaudio", (42.00, 42.11, 41.04)),
        ("midpoint", (47.70, 48.38, 46.86)),
        ("round", (48.49, 48.11, 47.36)),  # ours: no published figure; as good as the midpoints
    ],
)
def test_ten_bit_sines_have_the_published_signal_to_noise_ratios(
    decoder: str, wanted: tuple[float, ...], golden: Path
) -> None:
    """Two decoders of the public code lose 2 to 6 dB against the cells' centres. dB at -6, -20 and -40 dBFS."""
    for level, db in zip((-6, -20, -40), wanted):
        x = sine(level)
        if decoder == "torchaudio":  # tarepan's pair: librosa's codes, torchaudio's decoder
            with np.load(golden / "mulaw.npz") as arrays:
                y = torch.from_numpy(arrays["torchaudio_decoded_10"])[encode(x, 10, "librosa")].double()
        else:
            y = decode(encode(x, 10, decoder), 10, decoder).double()  # type: ignore[arg-type]
        assert snr(x, y) == pytest.approx(db, abs=0.25), f"{level} dBFS"


def test_gain_and_offset_of_the_decoders() -> None:
    """univoc's wave is 0.994 of the true one; ours has the true gain and no offset."""
    x = sine(-6)
    for codec, gain in (("librosa", 0.9940), ("midpoint", 1.0), ("round", 1.0)):
        y = decode(encode(x, 10, codec), 10, codec).double()  # type: ignore[arg-type]
        assert float((x * y).sum() / (x * x).sum()) == pytest.approx(gain, abs=3e-4)
        assert abs(float(y.mean() - x.mean())) < 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_cpus_codes() -> None:
    x = dense().float()
    for codec in CODECS:
        assert torch.equal(encode(x.cuda(), 10, codec).cpu(), encode(x, 10, codec))
        torch.testing.assert_close(
            decode(encode(x, 10, codec).cuda(), 10, codec).cpu(), decode(encode(x, 10, codec), 10, codec)
        )
