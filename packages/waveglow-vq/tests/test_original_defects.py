"""What goes wrong in the public code: each defect is put back, described in our own words, and breaks the promise that
our code keeps without it. N: NVIDIA/waveglow; S1 ... S12 and F: jaywalnut310/waveglow-vqvae.

N  log of the determinant, not of its size   S1 64 columns for a hop of 256       S7  decoding calls what is not there
N  the first inverse is kept for ever        S2 no speaker column, no training    S8  settings are run, not read
N  upsampling for hop 256, whatever the hop  S3 conversion without a speaker      S9  speaker 0 is nobody, ids are rows
N  short recordings end in digital zeros     S4 all averages but one stay zero    S10 the last crop is never drawn
N  the mel of the crop, with its edges       S5 small gradients are blown up      S12 validation tells nothing
N  16 bits wrap around                       S6 unknown settings are taken (S11)  F   half-precision likelihood
N  log-scales without bound                  F  a step without a number is made   F   layers begin 15 times too weak

No dequantisation: test_stability.py. Halves swapped in odd flows: test_import_checkpoint.py. Softness: vocoder_core.vq.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from torch import Tensor, nn

from vocoder_core import audio, config, schedule, speakers, train
from vocoder_core.corpus import Corpus, CorpusConfig, prepare, training_audio
from vocoder_core.mel_presets import PRESETS
from vocoder_core.train import TrainConfig
from vocoder_core.utterance import Utterance
from vocoder_core.validation import CheckConfig
from waveglow_vq import WaveGlowVQ, WaveGlowVQConfig, batches, check, condition, conversion, wn
from waveglow_vq.batches import Batch, Batches, CropConfig
from waveglow_vq.condition import ConditionConfig, MelCondition
from waveglow_vq.flow import Flow, FlowConfig
from waveglow_vq.mixing import Mixing
from waveglow_vq.periodicity import PeriodicityConfig
from waveglow_vq.settings import Settings
from waveglow_vq.train import Loss
from waveglow_vq.whiten import WhitenConfig

MEL = replace(PRESETS["asr16"], hop_length=128, win_length=256, n_fft=256, n_mels=12)
SMALL = FlowConfig(
    group=8, flows=2, layers=1, channels=4, early_every=1, early_size=2, prenet=0, subframes=1, film=False
)
MODEL = WaveGlowVQConfig(
    mel=MEL, flow=SMALL, whiten=WhitenConfig(order=0), periodicity=PeriodicityConfig(envelopes=0), normalise=False
)


@dataclass(frozen=True)
class World:
    """Where a promise may write, and a corpus of three recordings of noise: 52 and 70 frames, one held out."""

    folder: Path
    corpus: Corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder, made = tmp_path_factory.mktemp("corpus"), []
    for i, frames in enumerate((52, 70, 90)):
        wav = np.random.default_rng(i).uniform(-0.5, 0.5, frames * 128)
        soundfile.write(folder / f"{i}.wav", wav, 16_000)
        made.append(Utterance(str(i), f"p{225 + i}", folder / f"{i}.wav", None, "train" if i < 2 else "valid"))
    prepare(made, folder / "data", CorpusConfig(16_000, 128, "peak", -6.0), features=MEL, progress=False, jobs=1)
    return Corpus.open(folder / "data")


def longest_of(world: World) -> tuple[int, int]:
    """Of the longest training utterance: its frames, and the number of its first one."""
    return max((entry.frames, entry.offset // 128) for entry in world.corpus.split("train"))


def small_flow(seed: int = 0) -> tuple[Flow, Tensor, Tensor]:
    torch.manual_seed(seed)
    made = Flow(SMALL, 12, 128).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    draw = torch.Generator().manual_seed(1)
    wav = torch.randn(1, 256, generator=draw, dtype=torch.float64)
    return made, wav, torch.randn(1, 12, 2, generator=draw, dtype=torch.float64)


def fitted(world: World, name: str, batch: Callable[[int], Batch] | None = None, **settings: Any) -> WaveGlowVQ:
    """A new model after three steps on noise."""
    torch.manual_seed(0)
    model, cut = WaveGlowVQ(MODEL), Batches(world.corpus, MEL, CropConfig(frames=4), 2, 0, "cpu")
    config = TrainConfig(**{"steps": 3, "batch_size": 2, "warmup": 0, "ema": 0.0, "lr": 1e-3, **settings})
    train.fit(model, Loss(), lambda step, *_: (batch or cut)(step), config, world.folder / name, device="cpu")
    return model


# ---- what is promised


def mirror_images_have_a_likelihood(_: World) -> None:
    made, wav, told = small_flow()
    with torch.no_grad():
        made.mixings[0].weight[0] *= -1
    assert torch.linalg.det(made.mixings[0].weight) < 0
    assert made(wav, told).log_det().isfinite().all()


def new_weights_have_a_new_inverse(_: World) -> None:
    for seed in (0, 1):
        made, wav, told = small_flow(seed)
        assert (made.inverse(made(wav, told).z, told) - wav).abs().max() < 1e-8


def a_frame_is_heard_from_its_first_sample_on(_: World) -> None:
    for hop in (128, 200):
        made = MelCondition(ConditionConfig(upsampler="nvidia"), replace(MEL, hop_length=hop))
        one = torch.randn(1, 12, 10)
        other = one + (torch.arange(10) == 5)
        heard = (made.of_mel(one) - made.of_mel(other)).abs().sum(1)[0] > 1e-6
        assert (len(heard), heard.nonzero()[:1].tolist()) == (10 * hop, [[5 * hop]])


def no_batch_ends_in_digital_silence(world: World) -> None:
    made = Batches(world.corpus, MEL, CropConfig(frames=60), 16, 0, "cpu")(1)
    assert made.wav[:, -128:].std(1).min() > 0.1


def a_crop_has_the_mel_of_its_recording(world: World) -> None:
    """Two frames at its edges are those that the next crop has in its middle."""
    long, short = (Batches(world.corpus, MEL, CropConfig(frames=n), 1, 0, "cpu") for n in (12, 6))
    places = longest_of(world)[1] + np.arange(5, 25)
    long.places = lambda *_: places[: 12 + 2 * long.margin][None]  # type: ignore[method-assign]
    short.places = lambda *_: places[3 : 9 + 2 * short.margin][None]  # type: ignore[method-assign]
    assert torch.allclose(long(1).mel[..., 3:9], short(1).mel, atol=1e-4)


def loud_samples_are_clipped(world: World) -> None:
    audio.save(world.folder / "out.wav", np.array([0.5, 1.001, -1.2, 1.9]), 16_000)
    assert np.sign(soundfile.read(world.folder / "out.wav")[0]).tolist() == [1, 1, -1, 1]


def log_scales_stay_within_what_half_precision_holds(_: World) -> None:
    made, wav, told = small_flow()
    with torch.no_grad():
        made.couplings[0].end.bias += 30
    assert made(wav, told).z.half().isfinite().all()


def likelihood_does_not_depend_on_precision(_: World) -> None:
    """65,536 columns of a batch: half precision ends at 65,504, and has three digits before."""
    made, _, _ = small_flow()
    with torch.no_grad():
        made.mixings[0].weight *= 1.5
    matrix, log_det = made.float().mixings[0].matrix()
    assert float((log_det * 65_536).detach()) == pytest.approx(
        65_536 * float(torch.linalg.slogdet(matrix.double())[1].detach()), rel=1e-5
    )


def layers_begin_as_strong_as_they_were_drawn(_: World) -> None:
    torch.manual_seed(0)
    layer = Flow(replace(SMALL, channels=64), 12, 128).couplings[0].dilated[0]
    assert 0.4 < layer.weight.norm(dim=1).mean() < 0.8, "1 / sqrt(3): a sum of as many uniform numbers as torch draws"


def the_configured_conversion_hears_its_target(_: World) -> None:
    sizes = ["flow.flows=2", "flow.layers=1", "flow.channels=4", "condition.channels=4", "quantizer.size=8",
             "quantizer.dim=4", "speaker_size=3", "speakers=[p225, p303]"]  # fmt: skip
    path = Path(str(resources.files("waveglow_vq") / "configs" / "seed_vctk.yaml"))
    torch.manual_seed(0)
    model = WaveGlowVQ(config.load(Settings, path, [f"model.{item}" for item in [*sizes, *MORE]]).model).eval()
    for coupling in model.flow.couplings:
        nn.init.normal_(coupling.end.weight)
    wav = 0.3 * torch.randn(1, 1024)
    made = [model.convert(wav, target, seed=0) for target in ("p225", "p303", "p225")]
    assert torch.equal(made[0], made[2])
    assert (made[0] - made[1]).abs().max() > 1e-3


MORE: list[str] = []  # settings on top


def recordings_need_no_speaker(world: World) -> None:
    made = Batches(world.corpus, MEL, CropConfig(frames=4), 4, 0, "cpu")(1)
    assert made.speaker is None


def every_average_follows_its_weights(_: World) -> None:
    model = WaveGlowVQ(MODEL)
    average = schedule.Average(model, 0.9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    for step in range(1, 200):
        average.update(step)
    assert all(torch.allclose(value, torch.tensor(3.0), atol=1e-3) for value in average.values)


def small_gradients_are_left_alone(world: World) -> None:
    """A bound far above them gives the weights that no bound gives."""
    one, other = (fitted(world, f"clip{bound:g}", clip_grad=bound).state_dict() for bound in (0.0, 1e6))
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


def a_step_without_a_number_leaves_no_trace(world: World) -> None:
    cut = Batches(world.corpus, MEL, CropConfig(frames=4), 2, 0, "cpu")
    model = fitted(world, "bad", lambda step: replace(cut(step), wav=cut(step).wav / (step != 2)))
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    torch.manual_seed(0)
    assert not torch.equal(model.flow.mixings[0].weight, WaveGlowVQ(MODEL).flow.mixings[0].weight)


def unknown_settings_are_refused(_: World) -> None:
    for item in ("train.hidden_size=512", "model.vocab_file=x", "model.flow.freq_axis_kernel_size=3"):
        try:
            config.load(Settings, None, [item])
        except config.ConfigError as error:
            assert "unknown key" in str(error)
        else:
            raise AssertionError(item)


def codes_become_a_wave(_: World) -> None:
    made = codec().decode(torch.randint(8, (1, 5)), "p225", seed=0)
    assert made.shape == (1, 5 * 2 * 128)
    assert made.isfinite().all()


def settings_are_read_and_not_run(world: World) -> None:
    order, target = world.folder / "bad.yaml", world.folder / "ran"
    order.write_text(f"train: !!python/object/apply:os.system ['touch {target}']\n")
    with suppress(Exception):
        config.load(Settings, order)
    assert not target.exists()


def every_speaker_is_somebody(_: World) -> None:
    """The first one, too, whatever the numbers in their names."""
    model, codes = codec(), torch.arange(5)[None]
    assert model.speakers is not None
    for name, vector in zip(model.speakers.names, model.speakers.table.weight):
        assert torch.equal(model.decode(codes, name, seed=0), model.decode(codes, vector[None], seed=0))
        assert not torch.equal(model.decode(codes, name, seed=0), model.decode(codes, -vector[None], seed=0))


def codec() -> WaveGlowVQ:
    torch.manual_seed(0)
    small = ConditionConfig(source="codes", channels=8, encoder_layers=1, decoder_layers=1, fine_layers=1)
    codes = replace(MODEL.quantizer, size=8, dim=4)
    who: dict[str, Any] = {"speakers": ("p225", "p226", "p376"), "speaker_size": 4}
    model = WaveGlowVQ(replace(MODEL, condition=small, quantizer=codes, **who)).eval()
    for coupling in model.flow.couplings:
        nn.init.normal_(coupling.end.weight, std=0.1)
    return model


def the_first_and_the_last_crop_are_drawn(world: World) -> None:
    longest, first = longest_of(world)
    for spare in (0, 1):
        made = Batches(world.corpus, MEL, CropConfig(frames=longest - spare), 32, 0, "cpu")
        places = np.concatenate([made.places(step, 1)[:, made.margin] for step in range(1, 4)])
        assert set(range(first, first + spare + 1)) <= set(places.tolist())


def validation_tells_the_likelihood(world: World) -> None:
    made = check.Check(world.corpus, CheckConfig(clips=1, seconds=0.1, synthesize=0))
    figures = made(WaveGlowVQ(MODEL), 1, world.folder)
    found = {name: value for name, value in figures.items() if name.endswith(("_nll", "_bits"))}
    assert len(found) >= 2 and np.isfinite(list(found.values())).all()


# ---- what was done instead


def log_of_the_determinant(self: Mixing) -> tuple[Tensor, Tensor]:
    return self.weight, torch.logdet(self.weight)


def half_log_det(self: Mixing) -> tuple[Tensor, Tensor]:
    return self.weight, MATRIX(self)[1].half()


class FirstInverses:
    """By the size of the matrix, of which the small flow has one each."""

    def __init__(self) -> None:
        self.kept: dict[int, Tensor] = {}

    def __call__(self, matrix: Tensor) -> Tensor:
        return self.kept.setdefault(len(matrix), INVERSE(matrix))


def upsampling(kernel: int, hop: int) -> Any:
    return lambda bands, out, *_, **__: TRANSPOSED(bands, out, kernel, stride=hop)


def with_silence(own: np.ndarray, frames: int) -> np.ndarray:
    return np.pad(own, (0, frames - len(own)), constant_values=-1)


def mel_of_the_crop(wav: Tensor, mel: Any) -> Tensor:
    return nn.functional.pad(LOG_MEL(wav[:, 128:-128], mel), (1, 1))


def wrapped(wav: np.ndarray) -> np.ndarray:
    return (np.asarray(wav) * 32768).astype(np.int64).astype(np.int16)


def own_gain(layer: nn.Module, *_: Any) -> nn.Module:
    made = WEIGHT_NORM(layer)
    held = made.parametrizations["weight"]  # type: ignore[index]
    nn.init.xavier_uniform_(held.original0)
    return made


def first_average_alone(self: schedule.Average, step: int) -> None:
    for value in self.values[1:]:
        value.zero_()
    self.values[0].lerp_(self.parameters[0].detach(), 0.1)


def always_of_norm_one(parameters: list[Tensor], bound: float) -> Tensor:
    norm = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
    for parameter in parameters:
        if parameter.grad is not None and bound < np.inf:
            parameter.grad /= norm
    return norm


def whatever_is_known(cls: Any, tree: dict[str, Any], prefix: str) -> Any:
    return BUILD(cls, {key: value for key, value in tree.items() if key in cls.__dataclass_fields__}, prefix)


def run_yaml(text: str, _: str) -> Any:
    return yaml.unsafe_load(text)


def nobody_is_number_0(who: Any, size: int, known: Any, rows: Tensor) -> Any:
    return torch.zeros(len(rows), size) if who == known.names[0] else VECTORS(who, size, known, rows)


def numbers_in_names(who: Any, _: Any) -> Tensor:
    return torch.tensor([int(name[1:]) for name in who])


def without_the_end(counts: Any, seed: int, step: int, rows: int, frames: int) -> Any:
    index, _ = CROPS(counts, seed, step, rows, frames)
    draw = np.random.default_rng(step)
    return index, np.array([draw.integers(0, max(counts[i] - frames, 0)) for i in index])


def fails(*_: Any, **__: Any) -> Any:
    raise TypeError("int() argument must be a string or a number, not 'NoneType'")


MATRIX, INVERSE, TRANSPOSED, LOG_MEL = Mixing.matrix, torch.linalg.inv, nn.ConvTranspose1d, batches.log_mel
WEIGHT_NORM, BUILD, VECTORS, CROPS = wn.weight_norm, config._build, speakers.vectors, training_audio.crops
Defect = tuple[Any, str, Any]
DEFECTS: list[tuple[str, Callable[[World], None], Defect]] = [
    ("N determinant", mirror_images_have_a_likelihood, (Mixing, "matrix", log_of_the_determinant)),
    ("N inverse", new_weights_have_a_new_inverse, (torch.linalg, "inv", FirstInverses())),
    ("N hop", a_frame_is_heard_from_its_first_sample_on, (condition.nn, "ConvTranspose1d", upsampling(1024, 256))),
    ("N zeros", no_batch_ends_in_digital_silence, (batches.np, "resize", with_silence)),
    ("N mel", a_crop_has_the_mel_of_its_recording, (batches, "log_mel", mel_of_the_crop)),
    ("N wraps", loud_samples_are_clipped, (audio, "to_int16", wrapped)),
    ("N log-scales", log_scales_stay_within_what_half_precision_holds, (Flow, "_bounded", lambda _, raw: raw)),
    ("F likelihood", likelihood_does_not_depend_on_precision, (Mixing, "matrix", half_log_det)),
    ("F gains", layers_begin_as_strong_as_they_were_drawn, (wn, "weight_norm", own_gain)),
    ("F bad step", a_step_without_a_number_leaves_no_trace, (train, "isfinite", lambda _: True)),
    ("S1", a_frame_is_heard_from_its_first_sample_on, (condition.nn, "ConvTranspose1d", upsampling(256, 64))),
    ("S2", recordings_need_no_speaker, (Batches, "_speakers", fails)),
    ("S3", the_configured_conversion_hears_its_target, (None, "MORE", ["speaker_in_flow=false"])),
    ("S4", every_average_follows_its_weights, (schedule.Average, "update", first_average_alone)),
    ("S5", small_gradients_are_left_alone, (train.nn.utils, "clip_grad_norm_", always_of_norm_one)),
    ("S6 S11", unknown_settings_are_refused, (config, "_build", whatever_is_known)),
    ("S7", codes_become_a_wave, (conversion, "decode", fails)),
    ("S8", settings_are_read_and_not_run, (config, "_parse", run_yaml)),
    ("S9 nobody", every_speaker_is_somebody, (conversion, "vectors", nobody_is_number_0)),
    ("S9 ids", every_speaker_is_somebody, (speakers, "numbers", numbers_in_names)),
    ("S10", the_first_and_the_last_crop_are_drawn, (training_audio, "crops", without_the_end)),
    ("S12", validation_tells_the_likelihood, (check, "likelihoods", lambda *_: [{}])),
]  # fmt: skip


@pytest.mark.parametrize(("promise", "defect"), [row[1:] for row in DEFECTS], ids=[row[0] for row in DEFECTS])
def test_a_promise_is_kept_and_broken_by_its_defect(
    promise: Callable[[World], None], defect: Defect, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise(World(tmp_path, corpus))
    owner, name, instead = defect
    if owner is None:
        monkeypatch.setitem(globals(), name, instead)
    else:
        monkeypatch.setattr(owner, name, instead)
    (tmp_path / "again").mkdir()
    with pytest.raises((AssertionError, ValueError, TypeError)):
        promise(World(tmp_path / "again", corpus))
