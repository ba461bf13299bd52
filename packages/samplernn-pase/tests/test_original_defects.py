"""What goes wrong in the public networks: each defect is put back, described in our own words, and breaks the promise
that our code keeps without it. D by their numbers in the list of what the refactor of the paper's code lost:

D1 a decoded sample loses its sign, and so does all that is generated
D2 states are never carried from chunk to chunk                            256  a sample at full scale is class 256
D3 training hears the recording, generation its codes                      +15  only speakers' vectors of 15 fit
D6 another init than the paper's                                           80   generation begins with its own primer
D7 vocabularies in another order in every process                          1    one utterance at a time
D8 speakers by PASE are not implemented                                    T    no temperature

Loader and training: test_original_defects_of_runs.py. Files, features, statistics, labels: the tests of each.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samplernn_pase import SampleRNNPASE, generate, labels, linguistic, model, speaking, tiers
from samplernn_pase.condition import Mixer
from samplernn_pase.content import ContentConfig
from samplernn_pase.labels import LabelConfig
from samplernn_pase.speaker import SpeakerConfig
from samplernn_pase.speaker_vectors import Vectors
from samplernn_pase.tiers import FrameTier, SampleTier
from vocoder_core.recurrent import engine
from vocoder_core.recurrent.draws import stream_keys, uniforms

sys.path.append(str(Path(__file__).parent))
import lost_in_refactor
from lost_in_refactor import (
    SETS,
    always_anew,
    every_layer_begins_as_the_papers,
    other_init,
    rectified,
    words_have_their_places_in_every_process,
)
from noise_world import (
    NAMES,
    SEED,
    Patch,
    Promise,
    World,
    kept_and_broken,
    mels,
    network,
    noise,
    prepared,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return prepared(tmp_path_factory.mktemp("corpus"))


# ---- what is promised


def speech_has_two_signs(_: World) -> None:
    for codec in ("round", "seed"):
        wav = network(labels=LabelConfig(codec=codec)).synthesize(mels(4).mT, "p225", seed=0, backend="torch")
        assert wav.min() < -0.1 < 0.1 < wav.max()


def chunks_are_heard_as_the_whole_is(_: World) -> None:
    made, wav, told = network(), noise(13), mels(13)
    whole, state, parts = made(wav, told, "p225"), None, []
    for first in range(0, 12, 3):
        part = made(wav[:, first * 80 : (first + 4) * 80], told[:, first : first + 4], "p225", state=state)
        parts.append(part.logits)
        state = part.state
    torch.testing.assert_close(torch.cat(parts, dim=1), whole.logits, rtol=0, atol=1e-5)


def a_new_utterance_begins_with_the_learned_state(_: World) -> None:
    """Whatever was heard before it in the slot; and what goes on, does not."""
    made, wav, told, zeros = network(), noise(4, 3), mels(4, 3), torch.zeros(3, dtype=torch.int64)
    state = made(noise(4, 3, seed=5), told, "p225").state
    begun = made(wav, told, "p225", state=state, reset=torch.tensor([1, 0, 2])).logits
    fresh, on = made(wav, told, "p225").logits, made(wav, told, "p225", state=state, reset=zeros).logits.detach()
    torch.testing.assert_close(begun[0], fresh[0])
    torch.testing.assert_close(begun[1], on[1])
    assert (fresh[1] - on[1]).abs().max() > 1e-2


def training_hears_of_the_past_what_generation_will_know(_: World) -> None:
    for config in (SEED, LabelConfig()):
        made, wav, told = network(labels=config), noise(4), mels(4)
        codes = labels.encode(wav, config)
        heard = labels.decode(
            codes, config
        )  # of the public codec the lower edges: half of them round to the code below
        inside = heard + (labels.decode((codes + 1).clamp(max=255), config) - heard) / 4
        torch.testing.assert_close(made(wav, told, "p225").logits, made(inside, told, "p225").logits)


def what_was_said_is_foretold_as_it_was_drawn(_: World) -> None:
    """Its own speech, heard in one training pass: the same uniforms draw the same samples of what is foretold."""
    for config in (SEED, LabelConfig()):
        made, told = network(labels=config), mels(6)
        made.sample.logits.bias.data[0] = -30  # of the codec with centres: a class that no wave has
        wav = made.synthesize(told.mT, "p225", seed=3, backend="torch")
        table = labels.decode(torch.arange(256), config)
        nearest = (wav[:, :, None] - table).abs().argmin(2)
        inside = wav if config.codec == "round" else (table + F.pad(table[1:], (0, 1), value=1))[nearest] / 2
        with torch.no_grad():
            logits = made(F.pad(inside, (80, 0)), torch.cat([told[:, :1], told], 1), "p225").logits[0]
        draws = torch.from_numpy(uniforms(stream_keys(3, 1), 0, 480))[0]
        assert torch.equal(DRAW(logits, draws, 1.0), labels.encode(inside, config)[0])


def words_stay_with_the_weights(world: World) -> None:
    """Also where a later version of this package knows other ones, or knows them in another order."""
    network(content=ContentConfig("linguistic")).save_pretrained(world.folder / "model")
    turned = {name: words[::-1] for name, words in linguistic.VOCABULARIES.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linguistic, "VOCABULARIES", turned)
        kept = SampleRNNPASE.from_pretrained(world.folder / "model").config.content
        assert all(kept.vocabulary(name) == words[::-1] for name, words in turned.items())


def everybody_who_can_be_told_can_be_trained(_: World) -> None:
    """By a table, by vectors that PASE or others computed, or not at all."""
    for provider, size in (("lookup", 15), ("none", 0), ("ge2e", 256), ("pase", 100), ("pase+", 256), ("file", 7)):
        made = network(speaker=SpeakerConfig(provider=provider, size=size))  # type: ignore[arg-type]
        if isinstance(made.voices, model.Given):
            values = np.random.default_rng(0).random((2, size)).astype(np.float32)
            made.voices.fill(Vectors(NAMES, values, provider, "", 60.0))
        who = "p303" if size else None
        assert made.loss(made(noise(3), mels(3), who))["loss"].isfinite()
        if size:
            vector = torch.rand(1, size)
            assert made.synthesize(mels(1).mT, vector, seed=0, backend="torch").isfinite().all()


def the_loudest_sample_is_a_class_like_others(_: World) -> None:
    made, wav = network(labels=SEED), noise(3)
    wav[0, ::7], wav[0, 1::7] = 1.0, -1.0
    found = made.loss(made(wav, mels(3), "p225"))["loss"]
    found.backward()
    assert found.isfinite()
    assert labels.encode(wav, SEED).max() == 255


def speakers_vectors_may_have_any_size(_: World) -> None:
    for size in (1, 15, 40):
        made = network(speaker=SpeakerConfig(size=size))
        assert made(noise(3), mels(3), "p225").logits.isfinite().all()


def speech_is_as_long_as_its_content(_: World) -> None:
    """And begins with what was said first."""
    made = network()
    wav = made.synthesize(mels(3).mT, "p225", seed=0, backend="torch")
    assert wav.shape == (1, 240)
    assert wav[0, 0] != 0


def many_are_spoken_at_once_as_each_alone(_: World) -> None:
    made, told = network(), mels(2, 3)
    who = ["p225", "p303", "p225"]
    together = made.synthesize(told.mT, who, seed=[1, 2, 3], backend="torch")
    each = zip(told.mT.split(1), who, (1, 2, 3))
    alone = [made.synthesize(row, name, seed=seed, backend="torch")[0] for row, name, seed in each]
    assert torch.equal(together, torch.stack(alone))


def the_likeliest_sample_can_be_asked_for(_: World) -> None:
    made = network()
    one, other = (made.synthesize(mels(2).mT, "p225", seed=n, temperature=0, backend="torch") for n in (0, 1))
    assert torch.equal(one, other)


# ---- what was done instead


def without_sign(codes: Tensor, config: LabelConfig) -> Tensor:
    return DECODE(codes, config).abs()


def never_anew(self: FrameTier, state: Tensor | None, reset: Tensor | None, rows: int) -> Tensor:
    return BEGIN(self, state, None, rows)


def as_recorded(wav: Tensor, config: LabelConfig, noise: Tensor | None = None) -> Any:
    return OF_WAVE(wav, replace(config, raw=True), noise)


def torchs_own_init(rnn: nn.GRU) -> None:
    rnn.reset_parameters()


def of_fifteen(self: Mixer, speaker: int, content: int, size: int) -> None:
    MIXER(self, 15, content, size)


def no_pase(config: SpeakerConfig, names: tuple[str, ...]) -> Any:
    if config.provider not in ("lookup", "none"):
        raise NotImplementedError
    return VOICES(config, names)


def beyond_its_classes(wav: Tensor, config: LabelConfig) -> Tensor:
    companded = wav.sign() * (1 + 255 * wav.abs()).log() / np.float32(np.log(256))
    return (0.5 * (companded + 1) * (256 - 1e-6)).long()


def with_its_primer(*told: Any) -> Tensor:
    return F.pad(GENERATE(*told), (80, 0))


def the_first_alone(made: Any, content: Tensor, speaker: Any, pitch: Any, normal: Any, how: Any) -> Tensor:
    who = speaker[:1] if isinstance(speaker, list) else speaker
    seed = how.seed[:1] if isinstance(how.seed, list) else how.seed
    wav = GENERATE(made, content[:1], who, pitch, None if normal is None else normal[:1], replace(how, seed=seed))
    return wav.expand(len(content), -1)


def drawn_all_the_same(logits: Tensor, uniforms: Tensor, _: float) -> Tensor:
    return DRAW(logits, uniforms, 1.0)


DECODE, OF_WAVE, BEGIN, TIER, MIXER = (
    labels.decode,
    labels.of_wave,
    FrameTier.begin,
    SampleTier.__init__,
    Mixer.__init__,
)
VOICES, GENERATE, DRAW = model.known, generate.generate, engine.draw
DEFECTS: dict[str, tuple[Promise, list[Patch]]] = {
    "D1": (speech_has_two_signs, [(labels, "decode", without_sign)]),
    "D1 in generation alone": (what_was_said_is_foretold_as_it_was_drawn, [(labels, "of_wave", rectified)]),
    "D2": (chunks_are_heard_as_the_whole_is, [(FrameTier, "begin", always_anew)]),
    "D2 carried too far": (a_new_utterance_begins_with_the_learned_state, [(FrameTier, "begin", never_anew)]),
    "D3": (training_hears_of_the_past_what_generation_will_know, [(labels, "of_wave", as_recorded)]),
    "D6": (every_layer_begins_as_the_papers, [(SampleTier, "__init__", other_init)]),
    "D6 none at all": (
        every_layer_begins_as_the_papers,
        [(tiers, "begin_gru", torchs_own_init)],
    ),
    "D7": (words_have_their_places_in_every_process, [(lost_in_refactor, "BEFORE", SETS)]),
    "D7 in the weights": (words_stay_with_the_weights, [(ContentConfig, "__post_init__", lambda _: None)]),
    "D8": (everybody_who_can_be_told_can_be_trained, [(model, "known", no_pase)]),
    "256": (the_loudest_sample_is_a_class_like_others, [(labels, "encode", beyond_its_classes)]),
    "+15": (speakers_vectors_may_have_any_size, [(Mixer, "__init__", of_fifteen)]),
    "80": (speech_is_as_long_as_its_content, [(generate, "generate", with_its_primer)]),
    "1": (many_are_spoken_at_once_as_each_alone, [(generate, "generate", the_first_alone)]),
    "T": (the_likeliest_sample_can_be_asked_for, [(engine, "draw", drawn_all_the_same)]),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_promise_is_kept_and_broken_by_its_defect(
    name: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise, patches = DEFECTS[name]
    kept_and_broken(promise, patches, replace(world, folder=tmp_path), monkeypatch)


def test_a_shape_that_no_promise_needs_is_refused() -> None:
    """The public code cut or padded in silence."""
    with pytest.raises(ValueError, match="forward got 320 samples and 3 frames"):
        network()(noise(4), mels(3), "p225")
    assert speaking.Sampling().temperature == 1
