"""Checkpoint folders: what is saved comes back, and a damaged, foreign or hostile one is refused in a sentence."""

from __future__ import annotations

import pickle
import resource
import signal
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vocoder_core.mel import MelConfig
from vocoder_core.vocoder import Vocoder


@dataclass(frozen=True)
class NetConfig:
    mel: MelConfig = field(default_factory=MelConfig)
    width: int = 4


class Net(Vocoder):
    config_class = NetConfig

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        self.layer = nn.Linear(3, config.width)


class OtherNet(Net):
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Net(NetConfig(width=5)).save_pretrained(tmp_path / "run")
    return tmp_path / "run"


def test_what_is_saved_comes_back_with_its_config(tmp_path: Path) -> None:
    net = Net(NetConfig(MelConfig(sample_rate=22_050, fmax=8000.0), width=7))
    net.save_pretrained(tmp_path)
    again = Net.from_pretrained(tmp_path)
    assert again.config == net.config and again.sample_rate == 22_050 and not again.training
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "model.safetensors"]


def test_half_precision_weights_load_into_float32(folder: Path) -> None:
    half = {name: tensor.half() for name, tensor in Net.from_pretrained(folder).state_dict().items()}
    save_file(half, folder / "model.safetensors")
    assert all(p.dtype == torch.float32 for p in Net.from_pretrained(folder).parameters())


@pytest.mark.parametrize("limit", [100, 2000])  # bytes: config.yaml does not fit; it does, the weights do not
def test_a_full_disk_is_an_error_that_keeps_the_old_checkpoint(tmp_path: Path, limit: int) -> None:
    net = Net(NetConfig(width=500))
    net.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, usual[1]))
    try:
        with pytest.raises(OSError):
            net.save_pretrained(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "model.safetensors"]
    Net.from_pretrained(tmp_path)


def test_a_missing_folder_or_file_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no config.yaml there"):
        Net.from_pretrained(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors: missing"):
        Net.from_pretrained(folder)


def test_a_checkpoint_of_another_vocoder_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="model is 'Net'; expected OtherNet"):
        OtherNet.from_pretrained(folder)


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def oversized_header(data: bytes) -> bytes:
    return struct.pack("<Q", 2**62) + data[8:]


def header_past_the_end(data: bytes) -> bytes:
    return struct.pack("<Q", len(data) * 2) + data[8:]


def noise(data: bytes) -> bytes:
    return bytes((i * 73 + 5) % 256 for i in range(len(data)))


@pytest.mark.parametrize("damage", [truncated, oversized_header, header_past_the_end, noise, lambda data: b""])
def test_damaged_weights_are_refused(folder: Path, damage) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        Net.from_pretrained(folder)


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self):  # what a hostile pickle does
        return (open, (self.target, "w"))


def test_a_pickle_in_disguise_is_refused_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "was here"
    (folder / "model.safetensors").write_bytes(pickle.dumps(Payload(target)))
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        Net.from_pretrained(folder)
    torch.save(Payload(target), folder / "model.safetensors")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        Net.from_pretrained(folder)
    assert not target.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {**t, "layer.bias": torch.zeros(6)}, r"layer\.bias has shape \(6,\); its config gives \(5,\)"),
        (lambda t: {"layer.bias": t["layer.bias"]}, r"lacks layer\.weight"),
        (lambda t: {**t, "extra": torch.zeros(1)}, "holds extra, which the model does not have"),
        (lambda t: {**t, "layer.bias": torch.full((5,), torch.nan)}, "NaN or infinite weights"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder: Path, change, message: str) -> None:
    save_file(change(dict(Net.from_pretrained(folder).state_dict())), folder / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        Net.from_pretrained(folder)


def test_a_config_with_an_unknown_key_is_refused_with_its_line(folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(path.read_text() + "widht: 5\n")
    with pytest.raises(ValueError, match=r"config\.yaml:\d+: unknown key widht \(did you mean width\?\)"):
        Net.from_pretrained(folder)
