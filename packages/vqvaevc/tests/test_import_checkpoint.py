"""vqvaevc-import: what the two public projects save becomes a folder that computes the same; the rest is refused."""

from __future__ import annotations

import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vqvaevc import VQVAEVC
from vqvaevc.import_checkpoint import main

sys.path.append(str(Path(__file__).parent))
from public_vqvae import Sizes, Weights, samples, weights


@pytest.fixture(scope="module")
def arrays(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "vqvaevc.npz") as stored:
        return dict(stored)


def imported(tree: Any, folder: Path, *options: str, zipped: bool = True) -> VQVAEVC:
    torch.save(tree, folder / "vqvae.43.upconv.pyt", _use_new_zipfile_serialization=zipped)
    assert main([str(folder / "vqvae.43.upconv.pyt"), str(folder / "out"), *options]) == 0
    return VQVAEVC.from_pretrained(folder / "out")


def updated(public: Weights) -> Weights:
    """As their training leaves weights after an update: masked, and on the sphere."""
    made, name = dict(public), "overtone.wavernn.gru.weight_ih_l0"
    made[name] = made[name] * made["overtone.wavernn.mask"]
    table = made["vq.embedding0"]
    made["vq.embedding0"] = table * (0.06 * table.shape[2] ** 0.5 / table.norm(dim=2, keepdim=True))
    return made


KINDS: dict[str, Callable[[Weights], Any]] = {
    "as it is trained": lambda w: OrderedDict(updated(w)),
    "before any update": lambda w: OrderedDict(w),
    "of one without a mask": lambda w: {k: v for k, v in w.items() if not k.endswith("mask")},
    "in float64": lambda w: {k: v.double() for k, v in w.items()},
}


@pytest.mark.parametrize("zipped", [True, False])  # torch < 1.6, of their time, wrote bare pickles
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_the_original_says(
    kind: str, zipped: bool, arrays: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also weights that no update has masked yet: theirs, loaded, would generate otherwise than it was trained."""
    model = imported(KINDS[kind](weights()), tmp_path, zipped=zipped)
    assert "3 speakers, 0 to 2" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.yaml", "model.safetensors"]
    wave = samples(5629 + 64 + 960).float() / 32768
    wav, heard = (F.pad(wave, (n, 3))[:, : 5632 + 64 + 960] for n in (2, 3))
    with torch.no_grad():
        made = model(wav, heard, 5632, 64, ["2", "1"])
    for said, name in zip(made.logits, ("pass_coarse", "pass_fine")):
        np.testing.assert_allclose(said.log_softmax(2)[:, ::5, ::17].numpy(), arrays[name], rtol=0, atol=1e-5)


def test_half_precision_is_read_as_it_was_rounded(tmp_path: Path) -> None:
    public = weights()
    model = imported({k: v.half() for k, v in public.items()}, tmp_path)
    name = "overtone.rnn0.gru.weight_hh_l0"
    assert torch.equal(model.overtone.rnns[0].gru.weight_hh, public[name].half().float())


def test_speakers_get_their_names_by_their_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names.txt").write_text("p225\n p226 \n\np300\n")
    model = imported(weights(), tmp_path, "--speakers", str(tmp_path / "names.txt"))
    assert model.config.speakers == ("p225", "p226", "p300")
    assert "vqvaevc-convert in.wav out.wav --target p300" in capsys.readouterr().out
    column = weights()["overtone.conv0.block1.w_cond.weight"][:, 1]
    told = model.who("p226", torch.zeros(1, 1))
    assert torch.equal(model.overtone.convs[0].halves[1].speaker(told)[0], column)


def test_a_decoder_without_codes_is_imported_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = imported(weights("nocond"), tmp_path)
    assert (model.config.encoder.source, model.config.speakers, model.quantizer) == ("none", (), None)
    assert "no speakers" in capsys.readouterr().out


def test_training_goes_on_with_the_commitment_that_it_had(tmp_path: Path) -> None:
    """Neither k-means again, which would replace the codebook, nor the small commitment of the first 2,000 steps."""
    quantizer: Any = imported(weights(), tmp_path).quantizer
    assert int(quantizer.initialised) == 1
    assert float(quantizer.train().commitment()) == pytest.approx(0.01)
    torch.testing.assert_close(quantizer.codebook.norm(dim=1), torch.full((8,), 0.06 * 5**0.5))


# ---- refusals


class Payload:
    """Unpickled by Python's own unpickler, it calls `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("wrapping", ["zip", "legacy", "pickle"])
def test_a_hostile_pickle_is_refused_with_a_sentence_and_nothing_runs(
    wrapping: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, source = tmp_path / "ran", tmp_path / "model.pyt"
    payload = Payload(os.system, f"touch {target}")
    if wrapping == "pickle":
        source.write_bytes(pickle.dumps(payload))
    else:
        torch.save(weights() | {"more": payload}, source, _use_new_zipfile_serialization=wrapping == "zip")
    assert main([str(source), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vqvaevc-import: error: {source}: ")
    assert "nothing in it was run" in error
    assert not target.exists()
    assert not (tmp_path / "out").exists()
    pickle.loads(pickle.dumps(payload))
    assert target.exists(), "the payload works, so this test can fail"


def without(name: str) -> Weights:
    return {key: tensor for key, tensor in weights().items() if key != name}


GRU = "overtone.rnn1.gru.weight_ih_l0"
REFUSED: dict[str, tuple[Any, list[str], str]] = {
    "another network": ({"encoder.weight": torch.ones(2, 2)}, [], "holds no WaveRNN's tensors; expected a"),
    "a list": ([1, 2], [], "holds a list; expected a dict of tensors"),
    "fatchord's": (
        weights() | {"upsample.resnet.conv_in.weight": torch.ones(1)}, [], "holds upsample.resnet.conv_in.weight",
    ),
    "the mel vocoder": (weights("mel"), [], "without the Overtone, which this package does not have"),
    "too few names": (weights(), ["--speakers", "names"], "--speakers names 2; the checkpoint has 3 speakers"),
    "no names": (weights(), ["--speakers", "none"], "no such file; expected one with a name a line"),
    "not whole": (without("overtone.rnn1.tconv.bias"), [], "not hold one whole network: overtone.rnns.1.spread.bias"),
    "no WaveRNN": (without("overtone.wavernn.gru.weight_hh_l0"), [], "no tensor for wavernn.gru.weight_hh"),
    "misshapen": (weights() | {GRU: torch.ones(30, 20)}, [], "size mismatch"),
    "flat": (weights() | {GRU: torch.ones(30)}, [], f"{GRU} is of shape (30,); expected a GRU's weights"),
    "too many": (weights() | {"encoder.convs_wide.10.bias": torch.ones(10)}, [], "encoder.layers.10.wide.bias"),
    "not a number": (weights() | {"vq.embedding0": torch.full((1, 8, 5), torch.nan)}, [], "holds NaN or infinite"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_of_the_two_projects_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names").write_text("p225\np226\n")
    tree, options, said = REFUSED[name]
    torch.save(tree, "in.pyt")
    assert main(["in.pyt", "out", *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not Path("out").exists()


def test_no_file_and_half_a_file_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.pyt"), str(tmp_path / "out")]) == 2
    assert "no such file; expected a checkpoint of mkotha/WaveRNN or tarepan/vqvaevc" in capsys.readouterr().err
    torch.save(weights("vqvae", Sizes(conv=3)), tmp_path / "whole.pyt")
    (tmp_path / "half.pyt").write_bytes((tmp_path / "whole.pyt").read_bytes()[:3000])
    assert main([str(tmp_path / "half.pyt"), str(tmp_path / "out")]) == 2
    assert "not a checkpoint that can be read safely" in capsys.readouterr().err
