"""rnnms-import: three kinds of public checkpoint become a folder; hostile and damaged ones are refused, unread."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnms import RNNMS, RNNMSConfig
from rnnms.import_checkpoint import main
from vocoder_core.mel import MelConfig

SMALL = RNNMSConfig(bits=7, encoder_size=6, embedding_size=5, hidden_size=7, linear_size=9, codec="midpoint", delay=400)
UNIVOC = {"encoder.": "rnn1.", "decoder.embedding.": "embedding.", "decoder.rnn.": "rnn2.", "decoder.fc": "fc"}


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return RNNMS(SMALL).state_dict()


def univoc(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        new + k.removeprefix(old): t for k, t in weights.items() for old, new in UNIVOC.items() if k.startswith(old)
    }


def lightning(weights: dict[str, torch.Tensor], **more: Any) -> dict[str, Any]:
    return {
        "epoch": 3,
        "global_step": 1000,
        "pytorch-lightning_version": "1.1.4",
        "state_dict": {f"rnnms.{name}": tensor for name, tensor in weights.items()},
        "optimizer_states": [{"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}}],
        "hyper_parameters": {"hop_length": 200, "sampling_rate": 16000, "learning_rate": 4e-4},
        **more,
    }


KINDS = {
    "univoc": lambda w: {"model": univoc(w), "optimizer": {"state": {}}, "step": 150000},
    "univoc bare": univoc,
    "tarepan Lightning": lightning,
    "tarepan bare": lambda w: w,
}


@pytest.mark.parametrize("legacy", [False, True])  # torch < 1.6 wrote bare pickles, no zip
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_the_same_folder(
    kind: str, legacy: bool, weights: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = tmp_path / "public.pt", tmp_path / "out"
    torch.save(KINDS[kind](weights), source, _use_new_zipfile_serialization=not legacy)
    assert main([str(source), str(folder)]) == 0
    assert f"rnnms-infer in.wav out.wav --checkpoint {folder}" in capsys.readouterr().out
    model = RNNMS.from_pretrained(folder)
    assert model.config == SMALL, "sizes read off the tensors, univoc's front end"
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "model.safetensors"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert model.synthesize(torch.zeros(1, 80, 2), seed=0, backend="torch").shape == (1, 400)


def test_univocs_own_decoder_is_one_option_away(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "public.pt")
    assert main([str(tmp_path / "public.pt"), str(tmp_path / "out"), "--codec", "librosa"]) == 0
    assert RNNMS.from_pretrained(tmp_path / "out").config.codec == "librosa"


def test_what_lightning_noted_reaches_the_config(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(lightning(weights, hyper_parameters={"hop_length": 100, "sampling_rate": 24000}), tmp_path / "a.ckpt")
    assert main([str(tmp_path / "a.ckpt"), str(tmp_path / "out")]) == 0
    assert RNNMS.from_pretrained(tmp_path / "out").config.mel == MelConfig(sample_rate=24000, hop_length=100)


# ---- classes of other libraries


def foreign(name: str, base: type = object) -> type:
    """A class that pickles as `name` although no such module exists once the file is written."""
    module, _, attribute = name.rpartition(".")
    made = type(attribute, (base,), {"__module__": module})
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    setattr(sys.modules[module], attribute, made)
    return made


@pytest.fixture
def no_trace_of_modules() -> Any:
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if name.startswith(("pytorch_lightning", "nowhere")):
            del sys.modules[name]


def test_lightnings_own_classes_are_read_without_lightning(
    weights: dict[str, torch.Tensor], tmp_path: Path, no_trace_of_modules: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As keys, as values with state, as dict subclasses: what Lightning 1.x left in its checkpoints."""
    callback = foreign("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")
    noted = foreign("pytorch_lightning.utilities.parsing.AttributeDict", dict)
    value = callback()
    value.best = "last.ckpt"
    tree = lightning(
        weights, callbacks={callback: {"best_model_path": "x"}}, extra=value, hyper_parameters=noted(hop_length=100)
    )
    torch.save(tree, tmp_path / "a.ckpt")
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        del sys.modules[name]
    # a package of that name which would tell if it were imported
    trap = tmp_path / "path" / "pytorch_lightning"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    monkeypatch.syspath_prepend(trap.parent)
    assert main([str(tmp_path / "a.ckpt"), str(tmp_path / "out")]) == 0
    assert RNNMS.from_pretrained(tmp_path / "out").config.mel.hop_length == 100
    assert not (tmp_path / "imported").exists()
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)


class Payload:
    """Unpickled by Python's own unpickler, it calls `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def payloads(target: Path) -> dict[str, Any]:
    return {
        "os.system": Payload(os.system, f"touch {target}"),
        "builtins.exec": Payload(exec, f"open({str(target)!r}, 'w')"),
        "builtins.eval": Payload(eval, f"open({str(target)!r}, 'w')"),
        "subprocess": Payload(subprocess.check_call, ["touch", str(target)]),
        "pathlib": Payload(Path.touch, target),
        "getattr": Payload(getattr, target, "touch"),
    }


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("wrapping", ["zip", "legacy", "protocol 4", "pickle"])
@pytest.mark.parametrize("name", ["os.system", "builtins.exec", "builtins.eval", "subprocess", "pathlib", "getattr"])
def test_a_hostile_pickle_is_refused_with_a_sentence_and_nothing_runs(
    name: str, wrapping: str, weights: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, source = tmp_path / "ran", tmp_path / "hostile.ckpt"
    tree = lightning(weights, callbacks=payloads(target)[name])
    if wrapping == "pickle":
        source.write_bytes(pickle.dumps(tree["callbacks"]))
    else:
        protocol = 4 if wrapping == "protocol 4" else 2
        torch.save(tree, source, pickle_protocol=protocol, _use_new_zipfile_serialization=wrapping != "legacy")
    assert main([str(source), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"rnnms-import: error: {source}: ")
    assert "nothing in it was run" in error
    assert len(error.splitlines()) == 1
    assert not target.exists()
    assert not (tmp_path / "out").exists()


def test_the_payload_would_run_without_the_guard(tmp_path: Path) -> None:
    """The test above can fail: Python's own unpickler does run it."""
    pickle.loads(pickle.dumps(Payload(os.system, f"touch {tmp_path / 'ran'}")))
    assert (tmp_path / "ran").exists()


def test_a_function_of_a_harmless_library_is_not_called_either(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """numpy.load on an object array would unpickle again; here it is read as nothing at all."""
    import numpy

    target = tmp_path / "saved.npy"
    torch.save(lightning(weights, callbacks=Payload(numpy.save, str(target), 1)), tmp_path / "a.ckpt")
    assert main([str(tmp_path / "a.ckpt"), str(tmp_path / "out")]) == 0
    assert not target.exists()


# ---- files that are no checkpoint of ours


@pytest.mark.parametrize("keep", [0, 1, 10, 200, 2000])
def test_a_truncated_file_is_refused(keep: int, weights: dict[str, torch.Tensor], tmp_path: Path, capsys: Any) -> None:
    torch.save(lightning(weights), tmp_path / "whole.ckpt")
    (tmp_path / "half.ckpt").write_bytes((tmp_path / "whole.ckpt").read_bytes()[:keep])
    assert main([str(tmp_path / "half.ckpt"), str(tmp_path / "out")]) == 2
    assert "not a checkpoint that can be read safely" in capsys.readouterr().err


def test_other_files_and_no_file_are_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "text.pt").write_text("not a checkpoint\n" * 100)
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"model": {"step": 3}}, tmp_path / "empty.pt")
    for name, said in {
        "text.pt": "not a checkpoint that can be read safely",
        "list.pt": "holds a list; expected a dict of tensors",
        "empty.pt": "holds no tensors",
        "missing.pt": "no such file",
        ".": "no such file",
    }.items():
        assert main([str(tmp_path / name), str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("decoder.fc1.weight"), "no matrix decoder.fc1.weight"),
        (lambda w: w.pop("decoder.fc1.bias"), "decoder.fc1.bias"),
        (lambda w: w.update({"decoder.fc3.weight": torch.zeros(2, 2)}), "decoder.fc3.weight"),
        (lambda w: w.update({"decoder.fc2.bias": torch.zeros(5)}), "decoder.fc2.bias"),
        (lambda w: w.update({"decoder.embedding.weight": torch.zeros(100, 5)}), "tells 100 sample values apart"),
        (lambda w: w.update({"decoder.embedding.weight": torch.zeros(512, 5)}), "univoc 0.1"),
        (lambda w: w.update({"encoder.weight_ih_l0": torch.zeros(18)}), "no matrix encoder.weight_ih_l0"),
        (lambda w: w["decoder.fc2.bias"].fill_(torch.nan), "decoder.fc2.bias holds NaN or infinite weights"),
    ],
)
def test_a_network_that_is_not_whole_is_refused(
    change: Any, said: str, weights: dict[str, torch.Tensor], tmp_path: Path, capsys: Any
) -> None:
    weights = dict(weights)
    change(weights)
    torch.save(weights, tmp_path / "a.pt")
    assert main([str(tmp_path / "a.pt"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
