"""Reading, writing and resampling: against libsndfile's formats, librosa and closed forms."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder_core import audio


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


# --- load


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0)])
def test_every_depth_and_channel_count_is_read_as_the_mean(tmp_path: Path, subtype: str, step: float, channels: int):
    """Integers of any depth come as fractions of full scale, channels as their mean, nothing is lost or shifted."""
    random = np.random.default_rng(channels)
    wav = random.uniform(-0.9, 0.9, (5000, channels)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wav, 24_000, subtype=subtype)
    got, rate = audio.load(tmp_path / "a.wav")
    assert (got.dtype, got.shape, rate) == (np.float32, (5000,), 24_000)
    assert np.abs(got - wav.mean(axis=1)).max() <= max(step, 1e-7)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000, 192_000])
def test_every_rate_is_brought_to_the_asked_one(tmp_path: Path, rate: int):
    """A sine keeps frequency, level and phase through a change of rate (away from the ends)."""
    soundfile.write(tmp_path / "a.wav", tone(1.0, rate), rate, subtype="FLOAT")
    got, got_rate = audio.load(tmp_path / "a.wav", 16_000)
    assert (got_rate, got.shape) == (16_000, (16_000,))
    assert np.abs(got - tone(1.0, 16_000))[1000:-1000].max() < 1e-3


@pytest.mark.parametrize("suffix", sorted({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".au", ".w64", ".caf"}))
def test_formats_are_known_by_their_content(tmp_path: Path, suffix: str):
    """What a file is called does not matter: libsndfile looks inside."""
    soundfile.write(tmp_path / f"a{suffix}", tone(1.0, 16_000), 16_000)
    (tmp_path / f"a{suffix}").rename(tmp_path / "misnamed.wav")
    got, _ = audio.load(tmp_path / "misnamed.wav")
    assert abs(float(np.sqrt(np.mean(got**2))) - 0.5 / math.sqrt(2)) < 0.02


def cut(keep: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        soundfile.write(path, tone(1.0, 16_000), 16_000)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return write


def floats(value: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        wav = tone(1.0, 16_000)
        wav[500] = value
        soundfile.write(path, wav, 16_000, subtype="FLOAT")

    return write


def lying_rate(path: Path) -> None:
    soundfile.write(path, tone(1.0, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[24:28] = (2).to_bytes(4, "little")  # the rate in a WAV header: 2 Hz would resample to hours
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("empty.wav", lambda p: p.touch(), r"empty \(0 bytes\)"),
        ("text.wav", lambda p: p.write_text("hello " * 100), "not readable as audio"),
        ("random.flac", lambda p: p.write_bytes(bytes(range(256)) * 40), "not readable as audio"),
        ("header.wav", lambda p: soundfile.write(p, np.zeros(0, np.float32), 16_000), "no samples"),
        ("half.wav", cut(0.5), "cut short, 16022 of the bytes"),
        ("one_byte_less.wav", cut(0.99999), "cut short, 1 of the bytes"),
        ("half.aiff", cut(0.5), "cut short"),
        ("half.flac", cut(0.5), "cut short"),
        ("half.mp3", cut(0.5), "cut short"),
        ("nan.wav", floats(math.nan), "NaN or infinite"),
        ("inf.wav", floats(-math.inf), "NaN or infinite"),
        ("integers.wav", floats(32767.0), "samples reach 32767, expected full scale"),
        ("rate.wav", lying_rate, "sample rate is 2 Hz, expected 4000 to 384000"),
        ("folder.wav", lambda p: p.mkdir(), "is a folder, expected an audio file"),
        ("loop.wav", lambda p: p.symlink_to(p), "symbolic links"),
        ("pipe.wav", lambda p: os.mkfifo(p), "not a regular file"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path: Path, name: str, write: Callable[[Path], None], message: str):
    """Every way in which a file can be wrong is a ValueError that names the file and what is wrong, on one line."""
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message) as caught:
        audio.load(tmp_path / name, 16_000)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_missing_files_and_dead_links_are_not_found(tmp_path: Path):
    (tmp_path / "dead.wav").symlink_to(tmp_path / "nothing.wav")
    for name in ("nothing.wav", "dead.wav", "no/folder.wav"):
        with pytest.raises(FileNotFoundError, match="no such file"):
            audio.load(tmp_path / name)


def test_a_recording_that_went_through_a_pipe_is_read(tmp_path: Path):
    """Programs that write WAV into a pipe leave its length open (0, or the largest number): that is not a cut."""
    for size in (0, 0x7FFFFFFF, 0xFFFFFFFF):
        soundfile.write(tmp_path / "a.wav", tone(1.0, 16_000), 16_000)
        data = bytearray((tmp_path / "a.wav").read_bytes())
        data[40:44] = size.to_bytes(4, "little")
        (tmp_path / "a.wav").write_bytes(data)
        if size:  # libsndfile itself reads a chunk of size 0 as empty
            assert len(audio.load(tmp_path / "a.wav")[0]) == 16_000
        else:
            with pytest.raises(ValueError, match="no samples"):
                audio.load(tmp_path / "a.wav")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_closed_file_is_named():
    """A file without read permission. Root may read everything, so root asks in the name of nobody."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "closed.wav"
        soundfile.write(path, tone(0.5, 16_000), 16_000)
        path.chmod(0)
        Path(folder).chmod(0o755)
        user = os.geteuid()
        os.seteuid(user or 65534)
        try:
            with pytest.raises(ValueError, match=r"closed\.wav: cannot be opened \(Permission denied\)"):
                audio.load(path)
        finally:
            os.seteuid(user)


# --- save


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_sixteen_bits_come_back_exactly(tmp_path: Path, suffix: str):
    """save then load is the identity on 16-bit values, and -1 and the largest code survive."""
    codes = np.arange(-32768, 32768, 7)
    wav = (codes / 32768).astype(np.float32)
    audio.save(tmp_path / f"a{suffix}", wav, 22_050)
    got, rate = audio.load(tmp_path / f"a{suffix}")
    assert rate == 22_050
    assert np.array_equal(got, wav)
    assert soundfile.info(tmp_path / f"a{suffix}").subtype == "PCM_16"


def test_rounding_is_to_the_nearest_code_and_clamped():
    """rint(32768 x), half to even; full scale and beyond stays within 16 bits instead of wrapping round."""
    wav = np.array([0.0, 0.4, 0.5, 0.6, 1.5, 2.5, -0.5, -1.5, 32767.4, 32768, 1e6, -32768, -1e6]) / 32768
    expected = [0, 0, 0, 1, 2, 2, 0, -2, 32767, 32767, 32767, -32768, -32768]
    assert audio.to_int16(wav.astype(np.float32)).tolist() == expected


def test_ogg_and_long_files_are_written(tmp_path: Path):
    """Vorbis, in blocks: one long write would overflow libsndfile's stack."""
    wav = tone(60.0, 16_000)
    audio.save(tmp_path / "a.ogg", wav, 16_000)
    got, _ = audio.load(tmp_path / "a.ogg")
    assert len(got) == len(wav)
    assert np.abs(got - wav).max() < 0.05


def test_tensors_are_written_and_batches_refused(tmp_path: Path):
    torch = pytest.importorskip("torch")
    wav = torch.linspace(-0.5, 0.5, 2000, requires_grad=True)
    audio.save(tmp_path / "a.wav", wav, 16_000)
    assert np.abs(audio.load(tmp_path / "a.wav")[0] - wav.detach().numpy()).max() <= 0.5 / 32768
    with pytest.raises(ValueError, match=r"got \(1, 2000\): pass one row at a time"):
        audio.save(tmp_path / "b.wav", wav[None], 16_000)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    """The file appears whole or not at all."""
    audio.save(tmp_path / "a.flac", tone(0.1, 16_000), 16_000)
    before = (tmp_path / "a.flac").read_bytes()
    with pytest.raises(ValueError, match="NaN"):
        audio.save(tmp_path / "a.flac", np.array([0, np.nan]), 16_000)
    with pytest.raises(ValueError, match="cannot be written at 5000000 Hz"):
        audio.save(tmp_path / "a.flac", tone(0.1, 16_000), 5_000_000)
    with pytest.raises(ValueError, match=r"cannot write the format '\.mp4', expected one of \.wav \.flac \.ogg"):
        audio.save(tmp_path / "a.mp4", tone(0.1, 16_000), 16_000)
    with pytest.raises(FileNotFoundError):
        audio.save(tmp_path / "no folder" / "a.wav", tone(0.1, 16_000), 16_000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]
    assert (tmp_path / "a.flac").read_bytes() == before


def test_the_usual_file_mode_is_kept(tmp_path: Path):
    """A new file has the mode that the umask gives, not a temporary file's 0600."""
    (tmp_path / "plain").touch()
    audio.save(tmp_path / "a.wav", tone(0.1, 16_000), 16_000)
    assert (tmp_path / "a.wav").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- resample


@pytest.mark.parametrize(("source", "target"), [(16_000, 22_050), (48_000, 16_000), (44_100, 16_000), (16_000, 16_000)])
def test_resampling_is_librosas(shared_audio: Path, source: int, target: int):
    """Equal to librosa.resample at its default quality, soxr HQ."""
    librosa = pytest.importorskip("librosa")
    wav, _ = audio.load(shared_audio / "slt" / "arctic_a0009.flac")
    got = audio.resample(wav, source, target)
    theirs = librosa.resample(wav, orig_sr=source, target_sr=target)
    size = min(len(got), len(theirs))
    assert abs(len(got) - len(wav) * target / source) <= 1
    assert np.abs(got[:size] - theirs[:size]).max() <= 1e-6


def test_resampling_nothing_gives_nothing_and_bad_rates_are_named():
    assert audio.resample(np.empty(0, np.float32), 48_000, 16_000).shape == (0,)
    with pytest.raises(ValueError, match="from 0 to 16000 Hz"):
        audio.resample(np.zeros(10, np.float32), 0, 16_000)
