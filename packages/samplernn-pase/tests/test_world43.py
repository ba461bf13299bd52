"""world43 and Ahocoder: closed forms, SPTK's recursion, made sounds whose pitch and place are known, real speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samplernn_pase import ahocoder, world43
from samplernn_pase.world43 import BAP, LF0, RATE, VUV, WorldConfig, analyse, interpolated, synthesise
from vocoder_core import audio
from vocoder_core.metrics import score

world = pytest.mark.skipif(not world43.available(), reason="WORLD needs pyworld: pip install samplernn-pase[world]")


def buzz(hertz: np.ndarray) -> np.ndarray:
    """Harmonics up to 4 kHz, falling by 6 dB an octave, of an F0 for each sample."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return 0.2 * sum(np.sin(k * phase) / k * (k * hertz < 4000) for k in range(1, 60))


def recording(shared_audio: Path, clip: str = "slt/arctic_a0007", seconds: float = 2.0) -> np.ndarray:
    wav, _ = audio.load(shared_audio / f"{clip}.flac", RATE)
    return wav[: int(seconds * RATE)] * (0.95 / np.abs(wav).max())


# ---- the mel-cepstrum


def sptk_freqt(cepstrum: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """SPTK's recursion, written out; diffsptk 4.0.1 gives the same to 1e-15 (and mc2sp to 1e-13)."""
    out = np.zeros(order + 1)
    for value in cepstrum[::-1]:
        before = out.copy()
        out[0] = value + alpha * before[0]
        out[1] = (1 - alpha * alpha) * before[0] + alpha * before[1]
        for m in range(2, order + 1):
            out[m] = before[m - 1] + alpha * (before[m] - out[m - 1])
    return out


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.42, -0.3])
def test_freqt_is_sptks(alpha: float) -> None:
    cepstrum = np.random.default_rng(0).normal(size=61)
    seen = world43.freqt_matrix(60, 39, alpha) @ cepstrum
    np.testing.assert_allclose(seen, sptk_freqt(cepstrum, 39, alpha), atol=1e-12)


def test_the_mel_cepstrum_is_the_cosine_series_in_the_bent_frequency() -> None:
    """mc[m] = 2 / pi times the integral of ln |H| cos(m w') over w', summed finely, of a vowel of four poles."""
    bent = (np.arange(20_000) + 0.5) * np.pi / 20_000
    w = bent - 2 * np.arctan2(0.42 * np.sin(bent), 1 + 0.42 * np.cos(bent))

    def power(w: np.ndarray) -> np.ndarray:
        poles = np.array([0.9 * np.exp(0.3j), 0.8 * np.exp(0.9j)])
        z = np.exp(-1j * w)[:, None]
        return 1 / np.abs(((1 - poles * z) * (1 - poles.conj() * z)).prod(1)) ** 2

    expected = np.array([np.mean(0.5 * np.log(power(w)) * np.cos(m * bent)) * (2 - (m == 0)) for m in range(40)])
    seen = world43.mel_cepstrum(power(2 * np.pi * np.arange(513) / 1024)[None])[0]
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_an_envelope_comes_back_from_its_cepstrum() -> None:
    cepstra = np.random.default_rng(1).normal(size=(3, 40)) * 0.9 ** np.arange(40)
    np.testing.assert_allclose(world43.mel_cepstrum(world43.envelope_of(cepstra, 4096)), cepstra, atol=1e-6)
    power = np.exp(np.random.default_rng(2).normal(size=(3, 9)))
    np.testing.assert_allclose(world43.envelope_of(world43.mel_cepstrum(power), 16), power, rtol=0.02)
    assert np.isfinite(world43.mel_cepstrum(np.zeros((2, 513)))).all(), "digital silence"


# ---- pitch and place


@world
@pytest.mark.parametrize("method", ["harvest", "dio"])
@pytest.mark.parametrize("hertz", [70.0, 123.4, 300.0, 480.0])
def test_a_steady_tone_has_its_pitch(hertz: float, method: str) -> None:
    content = analyse(buzz(np.full(RATE, hertz)), WorldConfig(method))
    inside = content[8:-8]
    assert content.shape == (200, 43) and (inside[:, VUV] == 1).all()
    assert np.abs(1200 * np.log2(np.exp(inside[:, LF0]) / hertz)).max() < 5
    assert inside[:, BAP].max() < -10, "little noise in it"


@world
def test_a_frame_is_heard_in_its_middle() -> None:
    """A glide of two octaves a second: 2.5 ms, half a frame, are 6 cents."""
    f0 = 100 * 4 ** (np.arange(RATE) / RATE)
    content = analyse(buzz(f0))
    cents = 1200 * np.log2(np.exp(content[20:-20, LF0]) / f0[40::80][20:-20])
    assert abs(np.median(cents)) < 2


@world
def test_speech_comes_back_where_it_was() -> None:
    """A burst of noise: the energy of the copy lies where that of the burst does, to 1 ms."""
    wav = np.zeros(RATE // 2)
    wav[3000:4000] = np.random.default_rng(0).normal(size=1000) * 0.1
    copy = synthesise(analyse(wav))
    assert copy.shape == wav.shape and copy.dtype == np.float32
    centres = [np.average(np.arange(len(x)), weights=np.square(x)) for x in (wav, copy)]
    assert abs(centres[0] - centres[1]) < 16


@world
@pytest.mark.parametrize("clip", ["slt/arctic_a0007", "carlo/it-demo-thanks"])
def test_copies_of_real_speech_are_almost_worlds_own(shared_audio: Path, clip: str) -> None:
    """Of the core's copy, which codes nothing, 43 numbers a frame lose less than 0.7 dB of MCD."""
    from vocoder_core.world import copy_synthesis

    wav = recording(shared_audio, clip)
    copies = synthesise(analyse(wav)), copy_synthesis(wav, RATE)
    coded, whole = (score(wav, copy, RATE, metrics=["mcd_world"])["mcd_world"] for copy in copies)
    assert coded < whole + 0.7, (coded, whole)


@world
def test_the_same_recording_gives_the_same_numbers(shared_audio: Path) -> None:
    wav = recording(shared_audio, seconds=0.5)
    assert np.array_equal(analyse(wav), analyse(wav.astype(np.float64)))
    assert np.array_equal(synthesise(analyse(wav)), synthesise(analyse(wav)))


@world
@pytest.mark.parametrize("samples", [0, 79, 80, 81, 159, 400, 1039, 1040])
def test_short_waves(samples: int) -> None:
    """Shorter than 65 ms, too, which the original could not batch."""
    noise = np.random.default_rng(0).normal(size=samples) * 0.1
    for wav in (np.zeros(samples), noise, np.ones(samples)):
        content = analyse(wav)
        assert content.shape == (samples // 80, 43) and np.isfinite(content[:, :LF0]).all()
        copy = synthesise(content)
        assert copy.shape == (samples // 80 * 80,) and np.isfinite(copy).all()


@world
def test_what_is_never_voiced_has_no_pitch() -> None:
    """Neither 0 nor -1e10: NaN, which nobody takes for a number; and it can be said all the same."""
    content = analyse(np.random.default_rng(0).normal(size=RATE) * 1e-3 * (np.arange(RATE) % 4000 < 400))
    for voiced in (0, 1):
        content[:, VUV], content[:, LF0] = voiced, np.nan
        assert np.isfinite(synthesise(content)).all()
    silent = analyse(np.zeros(RATE))
    assert np.isnan(silent[:, LF0]).all() and not silent[:, VUV].any() and np.isfinite(silent[:, :LF0]).all()


def test_gaps_are_straight_and_ends_level() -> None:
    lf0 = np.array([np.nan, 5.0, np.nan, np.nan, 6.5, 6.0, np.nan])
    seen, voiced = interpolated(lf0)
    np.testing.assert_allclose(seen, [5, 5, 5.5, 6, 6.5, 6, 6])
    assert voiced.tolist() == [0, 1, 0, 0, 1, 1, 0]
    none, voiced = interpolated(np.full(3, np.nan))
    assert np.isnan(none).all() and voiced.tolist() == [0, 0, 0]


@world
def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"got a int16 wave of shape \(80,\); expected float \(T,\)"):
        analyse(np.zeros(80, np.int16))
    with pytest.raises(ValueError, match=r"shape \(5, 42\); expected \(F, 43\)"):
        synthesise(np.zeros((5, 42)))
    monkeypatch.setattr(world43, "available", lambda: False)
    with pytest.raises(ValueError, match=r'pip install "samplernn-pase\[world\]"'):
        analyse(np.zeros(800))


# ---- Ahocoder's files


def put(stem: Path, frames: int = 9, **values: np.ndarray) -> dict[str, np.ndarray]:
    """Files as Ahocoder leaves them: voiced in frames 2 to 3 and 6."""
    voiced = np.isin(np.arange(frames), (2, 3, 6))
    draw = np.random.default_rng(0)
    content = {
        "cc": draw.normal(size=(frames, 40)),
        "fv": np.where(voiced, 4000.0 + 100 * np.arange(frames), 1000.0),
        "lf0": np.where(voiced, 5.0 + 0.1 * np.arange(frames), -1e10),
    } | values
    for name, array in content.items():
        array.astype("<f4").tofile(f"{stem}.{name}")
    return content


def test_ahocoders_files_are_read_as_43_numbers(tmp_path: Path) -> None:
    """The last voiced frame before a gap stays voiced: ahoproc_tools lost it, one of seven in its own test file."""
    told = put(tmp_path / "a")
    content = ahocoder.read(tmp_path / "a")
    assert content.shape == (9, 43) and content.dtype == np.float32
    np.testing.assert_allclose(content[:, :40], told["cc"], rtol=1e-6)
    np.testing.assert_allclose(content[:, LF0], [5.2, 5.2, 5.2, 5.3, 5.4, 5.5, 5.6, 5.6, 5.6], rtol=1e-6)
    hertz = [4200, 4200, 4200, 4300, 4400, 4500, 4600, 4600, 4600]
    np.testing.assert_allclose(np.exp(content[:, BAP]), hertz, rtol=1e-5)
    assert content[:, VUV].tolist() == [0, 0, 1, 1, 0, 0, 1, 0, 0]


def test_a_recording_without_a_voice_keeps_no_minus_1e10(tmp_path: Path) -> None:
    """In the original that number went into the speaker's statistics, and the gradients had a norm of 3e9."""
    put(tmp_path / "a", fv=np.full(9, 1000.0), lf0=np.full(9, -1e10))
    content = ahocoder.read(tmp_path / "a")
    assert np.nanmin(content) > -10 and np.isnan(content[:, [BAP, LF0]]).all() and not content[:, VUV].any()


@pytest.mark.parametrize("voiced", [True, False])
def test_what_is_written_is_what_was_read(tmp_path: Path, voiced: bool) -> None:
    put(tmp_path / "a", **({} if voiced else {"fv": np.full(9, 1000.0), "lf0": np.full(9, -1e10)}))
    content = ahocoder.read(tmp_path / "a")
    ahocoder.write(tmp_path / "b", content)
    np.testing.assert_allclose(ahocoder.read(tmp_path / "b"), content, rtol=1e-6)
    for suffix in ahocoder.SUFFIXES:
        one, other = (np.fromfile(tmp_path / f"{name}{suffix}", "<f4") for name in "ab")
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"cc": np.zeros(9 * 40 - 3)}, r"a: .cc holds 357 numbers, .fv 9, .lf0 9; expected 40 F, F and F"),
        ({"fv": np.zeros(8)}, r"a: .cc holds 360 numbers, .fv 8, .lf0 9"),
        ({"fv": np.zeros(9)}, r"a.fv: holds 0; expected frequencies in Hz"),
        ({"lf0": np.full(9, np.nan)}, r"a.lf0: holds 9 numbers that are not finite"),
        ({"lf0": np.zeros(0)}, r"a.lf0: 0 bytes; expected float32"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, broken: dict[str, np.ndarray], message: str) -> None:
    put(tmp_path / "a", **broken)
    with pytest.raises(ValueError, match=message):
        ahocoder.read(tmp_path / "a")


def test_missing_and_odd_files_are_named(tmp_path: Path) -> None:
    put(tmp_path / "a")
    (tmp_path / "a.fv").write_bytes(b"12345")
    with pytest.raises(ValueError, match=r"a.fv: 5 bytes; expected float32 numbers"):
        ahocoder.read(tmp_path / "a")
    (tmp_path / "a.fv").unlink()
    with pytest.raises(FileNotFoundError, match=r"a.fv: no such file; expected .cc, .fv, .lf0 of one recording"):
        ahocoder.read(tmp_path / "a")


def test_worlds_aperiodicity_is_not_written_as_a_frequency(tmp_path: Path) -> None:
    content = np.zeros((4, 43), np.float32)
    content[:, VUV], content[:, BAP] = 1, -12
    with pytest.raises(ValueError, match="WORLD's aperiodicity is not Ahocoder's"):
        ahocoder.write(tmp_path / "a", content)
    with pytest.raises(ValueError, match=r"shape \(4, 42\); expected \(F, 43\)"):
        ahocoder.write(tmp_path / "a", content[:, :42])
    assert not list(tmp_path.iterdir())
