"""What goes wrong in the public networks: each defect is put back, described in our own words, and breaks the promise
that our code keeps without it. By their numbers in the list of what was found in mkotha/WaveRNN and tarepan/vqvaevc:

1  generation copies within one memory         8  coarse units see their byte until an update masks it
1  is warmed by what training never heard      8  every step waits for the GPU
1  hears a sample further than training        8  a vector of zeros is no number
2  nothing runs without a GPU                  8  lists of arrays are turned into tensors, slowly
3  integers that NumPy took away               9  "deterministic" draws all the same
7  --float does nothing                        9  arguments that nobody reads
10 errors are made and not raised             11  voices in reverse order

Files, corpora and runs: test_original_defects_of_runs.py. Unmasked checkpoints: test_import_checkpoint.py. Shapes that
comments tell wrong: test_timing.py. Offsets that come again each epoch: test_batches.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vocoder_core import config as configs
from vocoder_core import run_state, train
from vocoder_core.corpus import Corpus
from vocoder_core.recurrent import engine
from vocoder_core.train import TrainConfig
from vocoder_core.vq import sphere
from vocoder_core.vq.usage import Usage
from vqvaevc import VQVAEVC, VQVAEVCConfig, batches, condition, model
from vqvaevc.batches import Batch, CropConfig
from vqvaevc.cell import Cell
from vqvaevc.condition import EncoderConfig, WaveCodes
from vqvaevc.convert import convert
from vqvaevc.labels import LabelConfig
from vqvaevc.overtone import OvertoneConfig
from vqvaevc.settings import Settings
from vqvaevc.timing import Timing
from vqvaevc.voices import OneHot
from vqvaevc.warmup import Past, warmed
from vqvaevc.wavernn import DualGRU

sys.path.append(str(Path(__file__).parent))
from small_world import WINDOW, Patch, Promise, World, cut, fitted, kept_and_broken, network, noise, prepared


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepared(tmp_path_factory.mktemp("corpus"))


# ---- what is promised


def generation_says_every_sample(_: World) -> None:
    made = network()
    wav = made.decode(made.encode(noise(64)), "p225", seed=0, backend="torch")
    assert wav.shape == (1, 64)
    assert wav.isfinite().all()
    assert wav.std() > 0.1


def generation_begins_where_training_stands_after_silence(_: World) -> None:
    made, silence = network(), torch.zeros(1, 5632 + 64)
    who, units = made.who("p225", silence), made.condition.decode(torch.zeros(1, 85, dtype=torch.int64)).units_
    true = warmed(made, Past.source(made, silence, made.told(silence, condition.Conditioned()), 5632), units, who)
    for one, other in zip(warmed(made, Past.silence(made, 1), units, who).hidden, true.hidden):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def training_hears_the_codes_that_generation_hears(_: World) -> None:
    """Of a recording that silence surrounds: those of the window that begins where it begins."""
    made, wav = network(), noise(1024)
    whole = torch.cat([wav.new_zeros(1, 5632), wav, wav.new_zeros(1, 960)], dim=1)
    told, spoken = made.condition(whole, whole, 5632, None, None), made.condition.decode(made.condition.encode(wav))
    torch.testing.assert_close(told.units_[..., :100], spoken.units_[..., :100], rtol=0, atol=1e-6)


def no_gpu_is_needed(world: World) -> None:
    gone = mock.Mock(side_effect=AssertionError("no GPU"))
    with mock.patch("torch.Tensor.cuda", gone), mock.patch("torch.nn.Module.cuda", gone):
        fitted(world, "cpu", 1)
        generation_says_every_sample(world)


def speakers_are_told_apart_on_every_numpy(_: World) -> None:
    with mock.patch.object(np, "long", None, create=True):
        del np.long
        assert network().who(["p303", "p225"], noise(1, 2)).tolist() == [[0, 1], [1, 0]]


def a_precision_that_is_asked_for_is_used(world: World) -> None:
    used = []

    def loss(made: VQVAEVC, _: Batch) -> dict[str, Tensor]:
        said = made.wavernn.linears[0](torch.ones(1, 3))
        used.append(said.dtype)
        return {"loss": said.float().sum()}

    for amp in ("off", "bf16"):
        train.fit(network(), loss, cut(world), TrainConfig(steps=1, amp=amp), world.folder / amp, device="cpu")
    assert used == [torch.float32, torch.bfloat16]


def a_coarse_byte_is_said_before_it_is_known(_: World) -> None:
    """By new weights, which no update has touched."""
    made, wav = network(), noise(WINDOW)
    other = wav.clone()
    other[0, 5632 + 63] -= 0.5
    one, changed = (made(x, wav, 5632, 64, "p225").logits for x in (wav, other))
    assert torch.equal(one[0], changed[0])
    assert not torch.equal(one[1][0, 63], changed[1][0, 63]), "the fine byte is said after it"


def no_step_waits_for_its_figures(_: World) -> None:
    """But the first two, which ask whether the codebook has begun."""
    made, wav = network().train(), noise(WINDOW)
    told = made(wav, wav, 5632, 64, "p225")
    vectors = made.condition.encoder(wav).detach()
    for _ in range(2):
        made.quantizer(vectors)
    refused = mock.Mock(side_effect=AssertionError("it waits for the device"))
    with contextlib.ExitStack() as patches:
        for name in ("item", "cpu", "tolist", "numpy", "__bool__", "__float__", "__int__"):
            patches.enter_context(mock.patch.object(Tensor, name, refused))
        made.quantizer(vectors)
        made.loss(told)


def batches_are_made_without_a_warning(world: World) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        speaker = cut(world)(1).speaker
    assert speaker is not None


def silence_has_codes(_: World) -> None:
    """Also where a trained encoder makes nothing at all of it."""
    made = network().train()
    for parameter in made.condition.encoder.last.parameters():
        nn.init.zeros_(parameter)
    silent = torch.zeros(1, WINDOW)
    found = made.loss(made(silent, silent, 5632, 64, "p225"))
    assert all(value.isfinite().all() for value in found.values())


def nothing_is_left_to_chance_where_none_is_asked_for(_: World) -> None:
    made = network()
    codes = made.encode(noise(64))
    one, other = (made.decode(codes, "p225", temperature=0, seed=n, backend="torch") for n in (0, 1))
    assert torch.equal(one, other)


def every_setting_is_read_somewhere(_: World) -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in Path(model.__file__).parent.glob("*.py"))
    for config in CONFIGS:
        for field in dataclasses.fields(config):
            assert re.search(rf"\.{field.name}\b", source), f"{config.__name__}.{field.name}"


CONFIGS: list[Any] = [VQVAEVCConfig, EncoderConfig, OvertoneConfig, LabelConfig, CropConfig, Timing]


def every_model_that_is_offered_can_be_trained(_: World) -> None:
    for source in ("wave", "none", "mel"):
        made = network(encoder=EncoderConfig(source=source, channels=4))
        wav = noise(WINDOW)
        assert made.loss(made(wav, wav, 5632, 64, "p225"))["loss"].isfinite()


def a_recording_is_said_in_the_voices_named_in_their_order(_: World) -> None:
    """Also one of another rate than the model's, and of no whole number of frames."""
    made, wav = network(), noise(60)[0].numpy()
    both = convert(made, wav, 22_050, ["p303", "p225"], seed=0, backend="torch")
    (alone,) = convert(made, wav, 22_050, ["p303"], seed=0, backend="torch")
    assert [len(each) for each in both] == [60, 60]
    assert not np.array_equal(both[0], both[1])
    np.testing.assert_array_equal(both[0], alone)


def test_a_model_that_is_not_offered_is_refused_in_a_sentence() -> None:
    with pytest.raises(configs.ConfigError, match="source"):
        configs.load(Settings, None, ["model.encoder.source=wavernn"])


# ---- what was done instead


def shifted_within_itself(self: Cell, i: int, vector: Tensor) -> None:
    ring = torch.zeros(len(vector), 10, vector.shape[1])
    ring[:, :-4].copy_(ring[:, 4:])
    LOOK(self, i, vector)


def silent_to_nobody(made: VQVAEVC, rows: int) -> Past:
    with mock.patch.object(Past, "silence", SILENCE):
        return Past.zeros(made, rows)


def a_sample_earlier(self: WaveCodes, wav: Tensor, heard: Tensor, at: int, *rest: Any) -> condition.Conditioned:
    return HEARD(self, wav, heard, at - 1, *rest)


def on_the_gpu(*settings: Any) -> nn.Module:
    return CONDITIONER(*settings).cuda()


def as_numpys_long(_: OneHot, numbers: Tensor) -> Tensor:
    return torch.from_numpy((np.arange(2) == numbers.numpy()[:, None]).astype(np.long))  # type: ignore[attr-defined]


def unmasked(self: DualGRU) -> Tensor:
    column = torch.cat([self.weight_fine, self.weight_fine], dim=1).reshape(-1, 1)
    return torch.cat([self.weight_ih, column], dim=1)


def counted_on_the_cpu(_: Usage, codes: Tensor, __: bool) -> dict[str, Tensor]:
    part = torch.bincount(codes.cpu(), minlength=8) / len(codes)
    entropy = -(part[part > 0] * part[part > 0].log()).sum().item()
    return dict.fromkeys(("perplexity", "used_fraction", "bits_per_code"), torch.tensor(entropy))


def from_lists(who: Any, names: Any) -> Tensor:
    onehot = torch.FloatTensor([(np.arange(len(names)) == names.index(name)).astype(np.float32) for name in who])
    return onehot.argmax(1)


def projected(rows: Tensor, norm: float) -> Tensor:
    return norm * rows / rows.norm(dim=-1, keepdim=True)


def drawn_all_the_same(logits: Tensor, uniforms: Tensor, _: float) -> Tensor:
    return DRAW(logits, uniforms, 1.0)


@dataclass(frozen=True)
class Upsampling:
    upsample_factors: tuple[int, ...] = (4, 4, 4)


def made_and_not_raised(config: EncoderConfig, *rest: Any) -> Any:
    if config.source == "wave":
        return CONDITIONER(config, *rest)
    NotImplementedError("disabled mode")
    return None


def reversed_list(self: VQVAEVC, speaker: Any, rows: Tensor) -> Tensor | None:
    found = WHO(self, speaker, rows)
    return None if found is None else found.flip(0)


SILENCE, LOOK, HEARD, CONDITIONER, DRAW, WHO = (
    Past.silence,
    Cell.look,
    WaveCodes.forward,
    model.conditioner,
    engine.draw,
    VQVAEVC.who,
)
DEFECTS: dict[str, tuple[Promise, list[Patch]]] = {
    "1 copies": (generation_says_every_sample, [(Cell, "look", shifted_within_itself)]),
    "1 zeros": (
        generation_begins_where_training_stands_after_silence,
        [(Past, "silence", staticmethod(silent_to_nobody))],
    ),
    "1 a sample": (training_hears_the_codes_that_generation_hears, [(WaveCodes, "forward", a_sample_earlier)]),
    "2": (no_gpu_is_needed, [(model, "conditioner", on_the_gpu)]),
    "3": (speakers_are_told_apart_on_every_numpy, [(OneHot, "table", as_numpys_long)]),
    "7": (a_precision_that_is_asked_for_is_used, [(run_state, "_precision", lambda *_: None)]),
    "8 mask": (a_coarse_byte_is_said_before_it_is_known, [(DualGRU, "input_weight", unmasked)]),
    "8 waits": (no_step_waits_for_its_figures, [(Usage, "forward", counted_on_the_cpu)]),
    "8 lists": (batches_are_made_without_a_warning, [(batches, "numbers", from_lists)]),
    "8 zeros": (silence_has_codes, [(sphere, "on_sphere", projected)]),
    "9 chance": (nothing_is_left_to_chance_where_none_is_asked_for, [(engine, "draw", drawn_all_the_same)]),
    "9 dead": (every_setting_is_read_somewhere, [(sys.modules[__name__], "CONFIGS", [*CONFIGS, Upsampling])]),
    "10": (every_model_that_is_offered_can_be_trained, [(model, "conditioner", made_and_not_raised)]),
    "11": (a_recording_is_said_in_the_voices_named_in_their_order, [(VQVAEVC, "who", reversed_list)]),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_promise_is_kept_and_broken_by_its_defect(
    name: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise, patches = DEFECTS[name]
    kept_and_broken(promise, patches, World(tmp_path, corpus), monkeypatch)
