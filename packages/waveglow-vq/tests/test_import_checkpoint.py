"""waveglow-vq-import: every public layout, in every kind of file, becomes a vocoder that computes the same."""

from __future__ import annotations

import io
import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from waveglow_vq import WaveGlowVQ
from waveglow_vq.condition import ConditionConfig
from waveglow_vq.flow import FlowConfig
from waveglow_vq.import_checkpoint import main
from waveglow_vq.pickled_modules import Bag, read, state_dict

sys.path.append(str(Path(__file__).parent))
from public_waveglow import Sizes, Weights, inputs, weights

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*weight_norm.* is deprecated",
    "ignore:Detected pickle protocol 4",
    "ignore:Couldn't retrieve source code",
)
NOTES = {"n_mel_channels": 5, "n_flows": 6, "n_group": 8, "n_early_every": 2, "n_early_size": 2}


@pytest.fixture(scope="module")
def arrays(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "waveglow_vq.npz") as stored:
        return dict(stored)


# ---- files as the projects write them


class Foreign:
    """A module of classes that pickle as another project's, and that no one has once `gone`."""

    def __init__(self, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module, self.patch = module, monkeypatch
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))

    def made(self, name: str, **members: Any) -> type:
        made = type(name, (nn.Module,), {"__module__": self.module, **members})
        setattr(sys.modules[self.module], name, made)
        return made

    def gone(self) -> None:
        self.patch.delitem(sys.modules, self.module)


def network(public: Weights, foreign: Foreign) -> nn.Module:
    """These weights in a module as theirs: lists of layers, weight norm with its hooks, sizes as attributes."""
    top: nn.Module = foreign.made("WaveGlow")()
    for name in ("n_flows", "n_group", "n_early_every", "n_early_size"):
        setattr(top, name, NOTES[name])
    wn, mixing = foreign.made("WN"), foreign.made("Invertible1x1Conv")
    for name in sorted({name.rpartition(".")[0] for name in public}):
        parent = top
        *path, leaf = name.split(".")
        for depth, step in enumerate(path):
            if step not in parent._modules:
                lists = not step.isdigit()
                child = nn.ModuleList() if lists else (wn() if path[0] == "WN" and depth == 1 else mixing())
                parent.add_module(step, child)
            parent = parent._modules[step]  # type: ignore[assignment]
        parent.add_module(leaf, layer({k.rpartition(".")[2]: v for k, v in public.items() if k.startswith(name + ".")}))
    return top


def layer(own: Weights) -> nn.Module:
    value = own["weight_v" if "weight_v" in own else "weight"]
    rows, columns, taps = value.shape
    if taps == 1024:
        made: nn.Module = nn.ConvTranspose1d(rows, columns, taps, stride=256)
    else:
        made = nn.Conv1d(columns, rows, taps, bias="bias" in own)
    if "weight_v" in own:
        made = nn.utils.weight_norm(made)
    made.load_state_dict(own)
    return made


def nvidia(layout: str, normed: bool = True, parallel: bool = False) -> Any:
    """As train.py of NVIDIA/waveglow saves it, with Adam's state."""

    def build(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Callable[[], None]]:
        foreign = Foreign("glow", monkeypatch)
        net = network(weights(layout, normed=normed), foreign)
        net = nn.DataParallel(net) if parallel else net
        adam = {"state": {0: {"step": 5, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 1)}]}
        return {"model": net, "iteration": 7, "optimizer": adam, "learning_rate": 1e-4}, foreign.gone

    return build


def tensors(layout: str, prefix: str = "", half: bool = False, noted: dict[str, Any] | None = NOTES) -> Any:
    """As DeepLearningExamples' train.py saves it; half: as its published fp16 weights."""

    def build(_: pytest.MonkeyPatch) -> tuple[Any, Callable[[], None]]:
        state = {prefix + k: v.half() if half else v for k, v in weights(layout).items()}
        if noted is None:
            return state, lambda: None
        return {"epoch": 1, "random_rng_states_all": torch.zeros(1, 8).byte(), "config": noted, "state_dict": state,
                "optimizer": {}, "scaler": {}}, lambda: None  # fmt: skip

    return build


KINDS: dict[str, tuple[Any, str]] = {
    "nvidia": (nvidia("fused"), "fused"),
    "nvidia, weight norm removed": (nvidia("fused", normed=False), "fused"),
    "nvidia, several GPUs": (nvidia("fused", parallel=True), "fused"),
    "nvidia, before August 2019": (nvidia("dle"), "dle"),
    "nvidia, November 2018": (nvidia("old"), "old"),
    "dle": (tensors("dle"), "dle"),
    "dle, several GPUs": (tensors("dle", "module."), "dle"),
    "dle, several GPUs, apex": (tensors("dle", "module.1."), "dle"),
    "dle, half precision": (tensors("dle", half=True), "dle"),
    "bare": (tensors("fused", noted=None), "fused"),
}


def imported(build: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool = True, *more: str) -> WaveGlowVQ:
    tree, gone = build(monkeypatch)
    torch.save(tree, folder / "in.pt", _use_new_zipfile_serialization=zipped)
    gone()
    assert main([str(folder / "in.pt"), str(folder / "out"), "--mel", "waveglow22", *more]) == 0
    return WaveGlowVQ.from_pretrained(folder / "out")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_computes_what_its_network_did(
    kind: str,
    zipped: bool,
    tmp_path: Path,
    arrays: dict[str, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    build, layout = KINDS[kind]
    model = imported(build, tmp_path, monkeypatch, zipped)
    assert f"waveglow-vq-infer in.wav out.wav --checkpoint {tmp_path / 'out'}" in capsys.readouterr().out
    mel, wav, _ = inputs()
    with torch.no_grad():
        made = model(wav.float(), mel.float(), torch.zeros_like(wav).float())
    assert made.flowed is not None
    rounded = 1e-2 if "half" in kind else 1e-5
    np.testing.assert_allclose(made.flowed.z[..., ::7].numpy(), arrays[f"{layout}_z"], rtol=0, atol=rounded)
    if kind == "nvidia":
        assert float(model.loss(made)["loss"]) == pytest.approx(float(arrays["fused_loss"]), abs=1e-5)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_sizes_and_ways_are_read_off_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = imported(nvidia("fused"), tmp_path, monkeypatch).config
    assert config.flow == FlowConfig(
        group=8, flows=6, layers=3, channels=8, kernel=3, early_every=2, early_size=2, cond="group", prenet=0,
        subframes=1, log_scale_bound=0.0, film=False, mixing="dense", swap_odd=False, weight_norm=True,
    )  # fmt: skip
    assert config.condition == ConditionConfig(source="mel", upsampler="nvidia")
    assert (config.whiten.order, config.normalise, config.sigma) == (0, False, 0.6)
    assert (config.mel.sample_rate, config.mel.n_mels) == (22050, 5)


def test_the_weights_of_glow_old_swap_halves(
    tmp_path: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known by the module their class is named after; --no-swap-odd contradicts."""

    def build(patch: pytest.MonkeyPatch) -> Any:
        foreign = Foreign("glow_old", patch)
        net = network(weights("dle", Sizes(every=4)), foreign)
        net.n_early_every = 4  # type: ignore[assignment]
        return {"model": net}, foreign.gone

    mel, _, z = inputs()
    for more, swaps in ([], True), (["--no-swap-odd"], False):
        model = imported(build, tmp_path, monkeypatch, False, *more)
        assert model.config.flow.swap_odd is swaps
        with torch.no_grad():
            wave = model.flow_inverse(0.7 * z.float(), model.condition.of_mel(mel.float()))
        error = np.abs(wave[:, ::7].numpy() - arrays["swapped_wave"]).max()
        assert bool(error < 1e-4) is swaps


def test_an_imported_network_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = imported(nvidia("old"), tmp_path, monkeypatch)
    mel = inputs()[0].float()
    wav = model.synthesize(mel, seed=0)
    assert wav.shape == (2, 256 * mel.shape[2])
    assert wav.isfinite().all()
    assert wav.std() > 0.1


# ---- nothing in a file runs


class Payload:
    """Unpickled by Python's own unpickler, it calls `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("wrapping", ["zip", "zip, protocol 4", "legacy", "pickle"])
@pytest.mark.parametrize("function", [os.system, exec, eval])
def test_a_hostile_pickle_is_refused_with_a_sentence_and_nothing_runs(
    function: Any, wrapping: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, source = tmp_path / "ran", tmp_path / "weights.pt"
    order = f"touch {target}" if function is os.system else f"open({str(target)!r}, 'w')"
    tree = {"model": weights(), "optimizer": Payload(function, order)}
    if wrapping == "pickle":
        source.write_bytes(pickle.dumps(tree["optimizer"]))
    else:
        protocol = 4 if "4" in wrapping else 2
        torch.save(tree, source, pickle_protocol=protocol, _use_new_zipfile_serialization="zip" in wrapping)
    assert main([str(source), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"waveglow-vq-import: error: {source}: ")
    assert "nothing in it was run" in error
    assert len(error.splitlines()) == 1
    assert not target.exists()
    assert not (tmp_path / "out").exists()
    pickle.loads(pickle.dumps(Payload(function, order)))
    assert target.exists(), "the payload works, so this test can fail"


@pytest.mark.parametrize("zipped", [True, False])
def test_no_class_of_another_project_is_made_or_told_its_state(
    zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the project is at hand."""
    told: list[str] = []

    def setstate(self: Any, state: Any) -> None:
        told.append("state")
        self.__dict__.update(state)

    def new(cls: type, *_: Any) -> Any:
        told.append("new")
        return object.__new__(cls)

    foreign = Foreign("glow", monkeypatch)
    trap = foreign.made("Trap", __setstate__=setstate, __new__=new)()
    trap.register_parameter("weight", nn.Parameter(torch.arange(3.0)))
    told.clear()
    torch.save({"model": trap}, tmp_path / "in.pt", _use_new_zipfile_serialization=zipped)
    tree = read(tmp_path / "in.pt", "anything")
    assert told == []
    assert isinstance(tree["model"], Bag)
    assert tree["model"].origin == "glow.Trap"
    assert torch.equal(state_dict(tree["model"])["weight"], torch.arange(3.0))
    torch.load(tmp_path / "in.pt", weights_only=False)
    assert told == ["new", "state"], "torch's own loader does both, so this test can fail"


def test_what_numpy_is_asked_for_is_not_done(tmp_path: Path) -> None:
    """Training states name arrays of NumPy: a call gives an inert object."""
    target = tmp_path / "made.npy"
    torch.save({"rng": Payload(np.save, str(target), 1.0), "step": 3}, tmp_path / "in.pt")
    tree = read(tmp_path / "in.pt", "anything")
    assert isinstance(tree["rng"], Bag)
    assert tree["step"] == 3
    assert not target.exists()


class OldFile(pickle.Pickler):
    """A tensor (3,) of a storage of our own description, as torch wrote them before 1.6."""

    def __init__(self, numel: int, view: tuple[str, int, int] | None, numbers: torch.Tensor) -> None:
        self.file, self.storage = io.BytesIO(), ("storage", torch.FloatStorage, "0", "cpu", numel, view)
        super().__init__(self.file, 2)
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(part, self.file, 2)
        self.dump({"a": Payload(torch._utils._rebuild_tensor_v2, self, 0, (3,), (1,), False, {})})
        pickle.dump(["0"], self.file, 2)
        self.file.write(numel.to_bytes(8, "little") + numbers.numpy().tobytes())

    def persistent_id(self, obj: Any) -> Any:
        return self.storage if obj is self else None


def test_a_file_that_announces_more_than_it_holds_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "in.pt").write_bytes(OldFile(10**13, None, torch.arange(10.0)).file.getvalue())
    with pytest.raises(ValueError, match="announces more numbers than the file has room for"):
        read(tmp_path / "in.pt", "anything")


def test_a_storage_that_is_part_of_another_is_read(tmp_path: Path) -> None:
    """As torch 0.4 and older wrote views."""
    (tmp_path / "in.pt").write_bytes(OldFile(10, ("1", 4, 3), torch.arange(10.0)).file.getvalue())
    assert read(tmp_path / "in.pt", "anything")["a"].tolist() == [4, 5, 6]


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_back_as_torch_reads_them(zipped: bool, tmp_path: Path) -> None:
    """Views, strides, types, shared storages, empty ones."""
    whole = torch.arange(24.0).view(4, 6)
    tree = {
        "view": whole[1:, ::2], "turned": whole.T, "empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5),
        "bf16": whole.bfloat16(), "half": whole.half(), "long": torch.tensor([1, -(2**40)]), "bool": whole > 3,
        "double": whole.double() / 3, "parameter": nn.Parameter(whole), "buffers": [torch.zeros(2, dtype=torch.uint8)],
    }  # fmt: skip
    torch.save(tree, tmp_path / "in.pt", _use_new_zipfile_serialization=zipped)
    ours, theirs = read(tmp_path / "in.pt", "anything"), torch.load(tmp_path / "in.pt", weights_only=True)
    for name in tree.keys() - {"buffers"}:
        assert torch.equal(ours[name], theirs[name]), name
        assert (ours[name].dtype, ours[name].stride()) == (theirs[name].dtype, theirs[name].stride())
    assert ours["turned"].data_ptr() == ours["parameter"].data_ptr(), "one storage"


# ---- refusals


@pytest.mark.parametrize("keep", [0, 10, 3000, 60_000])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused(
    keep: int, zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(weights(), tmp_path / "whole.pt", _use_new_zipfile_serialization=zipped)
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:keep])
    assert main([str(tmp_path / "half.pt"), str(tmp_path / "out")]) == 2
    assert "not a checkpoint that can be read safely" in capsys.readouterr().err


def without(name: str, layout: str = "fused") -> Weights:
    return {key: tensor for key, tensor in weights(layout).items() if key != name}


def changed(name: str, shape: tuple[int, ...]) -> Weights:
    return weights() | {name: torch.full(shape, 0.5)}


REFUSED: dict[str, tuple[Any, list[str], str]] = {
    "another network": ({"encoder.weight": torch.ones(2, 2)}, [], "(encoder.weight, ...) are no WaveGlow's"),
    "no tensors": ({"model": {"step": 3}}, [], "holds no tensors; expected a checkpoint of NVIDIA/waveglow"),
    "a list": ([1, 2], [], "holds no tensors"),
    "other sizes": (
        {"state_dict": weights(), "config": NOTES | {"n_flows": 12}}, [], "notes n_flows 12, its tensors say 6",
    ),
    "no such mel": (weights(), ["--mel", "mine"], "--mel mine: no such front end; expected one of"),
    "other hop": (weights(), ["--mel", "rnnms16"], "has a hop of 200; expected a kernel of 4 hops"),
    "not whole": (without("WN.3.end.bias"), [], "couplings.3.end.bias"),
    "a flow is missing": (without("convinv.5.conv.weight"), [], "convinv.5.conv.weight is missing"),
    "half a layer": (without("WN.2.res_layers.0.bias", "old"), [], "it lacks WN.2.res_layers.0.bias"),
    "no way back": (
        weights() | {"convinv.1.conv.weight": torch.ones(8, 8, 1)}, [], "convinv.1.conv.weight is singular",
    ),
    "misshapen": (changed("WN.1.end.bias", (5,)), [], "size mismatch"),
    "odd widths": (changed("convinv.5.conv.weight", (6, 6, 1)), [], "flows have [8, 8, 6, 6, 4, 6] channels"),
    "not a number": (
        weights() | {"upsample.bias": torch.full((5,), torch.nan)}, [], "upsample.bias holds NaN or infinite weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_public_waveglow_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree, more, said = REFUSED[name]
    torch.save(tree, tmp_path / "in.pt")
    assert main([str(tmp_path / "in.pt"), str(tmp_path / "out"), *more]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_no_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.pt"), str(tmp_path / "out")]) == 2
    assert "no such file; expected a checkpoint of NVIDIA/waveglow" in capsys.readouterr().err
