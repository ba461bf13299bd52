"""The whole network: what a pass needs and gives, who speaks, chunks and their states, empty slots, refusals."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.content import ContentConfig
from samplernn_pase.labels import LabelConfig
from samplernn_pase.model import MEL, PITCH_MIDDLE, PITCH_SPREAD, Pass
from samplernn_pase.speaker import SpeakerConfig
from vocoder_core import excitation

sys.path.append(str(Path(__file__).parent))  # the folder of small_models.py
from small_models import ALL, EXCITED, GIVEN, HOP, SUNG, TEXT, VOICES, WAVE, WHO, cut, drawn, fed

EVERY = pytest.mark.parametrize("config", ALL.values(), ids=ALL.keys())


@EVERY
def test_a_pass_gives_a_distribution_for_every_sample(config: SampleRNNPASEConfig) -> None:
    model = drawn(config)
    made = model(**fed(model, rows=2, frames=3))
    assert made.logits.shape == (2, 240, 256) and made.logits.isfinite().all()
    assert made.targets.shape == (2, 240) and made.targets.dtype == torch.int64
    assert [tuple(state.shape) for state in made.state] == [(1, 2, 12)] * 2


def test_frames_around_the_predicted_ones() -> None:
    """One, from whose samples the first step is told; four of an excitation: a pitch period and what predicts it."""
    contexts = {name: drawn(config).context for name, config in ALL.items()}
    assert contexts == {
        "wave": (1, 0), "excited": (4, 1), "voices": (1, 0), "given": (1, 0), "text": (1, 0), "sung": (1, 1)
    }  # fmt: skip


@EVERY
def test_chunk_by_chunk_is_the_whole(config: SampleRNNPASEConfig) -> None:
    """States carried, each chunk led up to by `context` frames: <= 1e-5. The refactor began every chunk anew (D2)."""
    model = drawn(config)
    told = fed(model, rows=2, frames=9)
    whole = model(**told)
    state, logits, targets = None, [], []
    for first, frames in ((0, 2), (2, 4), (6, 3)):
        made = model(**cut(model, told, first, frames), state=state)
        state = made.state
        logits.append(made.logits), targets.append(made.targets)
    assert torch.equal(torch.cat(targets, 1), whole.targets)
    assert (torch.cat(logits, 1) - whole.logits).abs().max() <= 1e-5
    assert all((a - b).abs().max() <= 1e-6 for a, b in zip(state, whole.state))


@EVERY
def test_a_reset_is_a_fresh_start_and_what_is_carried_has_an_effect(config: SampleRNNPASEConfig) -> None:
    model = drawn(config)
    told = fed(model, rows=3, frames=4)
    state = model(**cut(model, told, 0, 2)).state
    second = cut(model, told, 2, 2)
    fresh, carried = model(**second), model(**second, state=state)
    reset = model(**second, state=state, reset=torch.tensor([1, 0, 2]))
    assert torch.equal(reset.logits[[0, 2]], fresh.logits[[0, 2]]) and torch.equal(reset.logits[1], carried.logits[1])
    assert (carried.logits - fresh.logits).abs().amax((1, 2)).min() > 1e-4


@EVERY
def test_slots_do_not_hear_each_other(config: SampleRNNPASEConfig) -> None:
    model = drawn(config)
    told, state = fed(model, rows=3, frames=2), tuple(torch.randn(1, 3, 12) for _ in range(2))
    order, reset = torch.tensor([2, 0, 1]), torch.tensor([0, 1, 0])
    made = model(**told, state=state, reset=reset)
    moved = {name: value[order] for name, value in told.items()}
    other = model(**moved, state=tuple(s[:, order] for s in state), reset=reset[order])
    assert (other.logits - made.logits[order]).abs().max() <= 1e-5 and torch.equal(other.targets, made.targets[order])
    assert (other.state[0] - made.state[0][:, order]).abs().max() <= 1e-6


def test_no_gradient_reaches_the_chunk_before() -> None:
    model = drawn(VOICES)
    told = fed(model, frames=4)
    first, second = cut(model, told, 0, 2), cut(model, told, 2, 2)
    first["content"] = first["content"].clone().requires_grad_()
    made = model(**first)
    assert not any(state.requires_grad for state in made.state)
    loss = model.loss(model(**second, state=made.state))["loss"]
    assert torch.autograd.grad(loss, first["content"], allow_unused=True) == (None,)


def test_the_learned_first_state_gets_a_gradient_where_an_utterance_begins_and_only_there() -> None:
    model = drawn(VOICES)
    told = fed(model, frames=2)
    state = tuple(torch.randn(1, 2, 12) for _ in range(2))
    for reset, learns in (([1, 0], True), ([0, 0], False)):
        model.zero_grad()
        model.loss(model(**told, state=state, reset=torch.tensor(reset)))["loss"].backward()
        for tier in (model.top, model.mid):
            assert (tier.first.grad is not None and bool(tier.first.grad.any())) is learns


def test_each_sample_looks_back_and_never_at_itself() -> None:
    """By gradients of a model told the recording itself: the frame tiers hear up to the beginning of the step."""
    model = drawn(replace(WAVE, labels=LabelConfig(codec="seed", raw=True)))
    told = fed(model, rows=1, frames=2)
    told["wav"].requires_grad_()
    logits = model(**told).logits
    for t in (0, 19, 20, 79, 80, 133):
        (gradient,) = torch.autograd.grad(logits[0, t].sum(), told["wav"], retain_graph=True)
        heard = gradient[0].nonzero()[:, 0]
        # the first step read the 80 samples before sample 80, the last one up to the last multiple of 20
        assert (int(heard[0]), int(heard[-1])) == (0, HOP + t // 20 * 20 - 1) and len(heard) == heard[-1] + 1


@pytest.mark.parametrize("config", [WAVE, EXCITED], ids=["wave", "excited"])
def test_a_sample_is_heard_by_all_after_it_and_by_none_before(config: SampleRNNPASEConfig) -> None:
    model = drawn(config)
    told = fed(model, rows=1, frames=2)
    place = 37
    other = dict(told)
    other["wav"] = told["wav"].clone()
    other["wav"][0, model.context[0] * HOP + place] *= -1
    differs = (model(**told).logits != model(**other).logits).any(2)[0]
    assert not differs[: place + 1].any() and differs[place + 1 : place + 21].all()


def test_an_excitation_is_what_the_core_makes_of_the_whole_wave() -> None:
    """Of a chunk in the middle of a wave, by the context it is given: the same classes."""
    model = drawn(EXCITED)
    told = fed(model, rows=2, frames=6)
    before, _ = model.context
    filters, gain = model.prediction(told["content"])
    frames = before + 6
    config = excitation.ExcitationConfig(8, 8, HOP, True, 16.0, 1.6)
    lag, voicing = told["pitch"].unbind(2)
    whole = excitation.told(told["wav"], config, filters[:, :frames], gain[:, :frames], lag, voicing)
    made = model(**cut(model, told, 3, 2))
    assert torch.equal(made.targets, whole.targets[:, (before + 3) * HOP : (before + 5) * HOP])
    assert model.sample.taps == 20 and model.top.frame == 160, "the past excitation and the past wave"


def test_pitch_is_heard_as_height_and_voicing() -> None:
    model = drawn(EXCITED)
    told = fed(model, rows=1, frames=2)
    mel = told["content"][:, 4:6]
    heard = torch.cat([
        (mel - model.content.mean[0]) / model.content.std[0],
        (told["pitch"][:, 4:, :1].log() - PITCH_MIDDLE) / PITCH_SPREAD, told["pitch"][:, 4:, 1:],
    ], dim=2)  # fmt: skip
    expected = F.linear(heard, model.mixer.mix.weight, model.mixer.mix.bias)
    assert torch.allclose(model.conds(mel, None, pitch=told["pitch"]), expected, atol=1e-5)


@pytest.mark.parametrize(("ahead", "reach"), [(False, [2]), (True, [1, 2])])
def test_look_ahead_tells_each_frame_the_next_one(ahead: bool, reach: list[int]) -> None:
    model = drawn(replace(TEXT, content=replace(TEXT.content, look_ahead=ahead)))
    frames = 4 + ahead
    content = fed(model, rows=1, frames=4)["content"][:, 1:]
    other = content.clone()
    other[0, 2, 7] += 1.0
    differs = (model.conds(content, ["anna"]) != model.conds(other, ["anna"])).any(2)[0]
    assert content.shape[1] == frames and differs.nonzero()[:, 0].tolist() == reach


def test_content_of_the_context_is_not_heard() -> None:
    """The frames before the predicted ones are there for the prediction alone; of the wave no frame is."""
    model = drawn(VOICES)
    told = fed(model)
    other = told | {"content": told["content"].clone()}
    other["content"][:, 0] += 1
    assert torch.equal(model(**told).logits, model(**other).logits)


# ---- loss


def test_the_loss_is_the_mean_over_active_samples_in_nats() -> None:
    model = drawn(WAVE)
    made = model(**fed(model, rows=2, frames=1))
    active = torch.rand(2, 80, generator=torch.Generator().manual_seed(0)) < 0.3
    terms = [
        -float(made.logits[b, t].log_softmax(0)[made.targets[b, t]].detach()) for b, t in active.nonzero().tolist()
    ]
    told = model.loss(made, active)
    assert float(told["loss"].detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    assert float(told["bits"]) == pytest.approx(float(told["loss"].detach()) / log(2), rel=1e-6)
    everywhere = model.loss(made, torch.ones(2, 80).bool())
    assert torch.allclose(model.loss(made)["loss"], everywhere["loss"])


@pytest.mark.parametrize("empty", [1, 2, 3])
def test_empty_slots_cost_nothing(empty: int) -> None:
    """With 1 ... B - 1 of them the loss of the others, finite; D4: of nothing the public loss was NaN, for ever."""
    model = drawn(VOICES)
    told = fed(model, rows=4, frames=2)
    reset = torch.tensor([1, 0, 0, 1])
    reset[4 - empty :] = 2
    state = tuple(torch.randn(1, 4, 12) for _ in range(2))
    active = (reset != 2)[:, None].expand(-1, 160)
    loss = model.loss(model(**told, state=state, reset=reset), active)["loss"]
    some = {name: value[: 4 - empty] for name, value in told.items()}
    left = model(**some, state=tuple(s[:, : 4 - empty] for s in state), reset=reset[: 4 - empty])
    assert float(loss) == pytest.approx(float(model.loss(left)["loss"]), rel=1e-5)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_of_nobody_the_loss_is_zero_and_so_is_its_gradient() -> None:
    model = drawn(WAVE)
    told = model.loss(model(**fed(model), reset=torch.tensor([2, 2])), torch.zeros(2, 240, dtype=torch.bool))
    told["loss"].backward()
    assert float(told["loss"]) == 0 == float(told["bits"])
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_a_pass_that_is_sure_and_right_costs_nothing() -> None:
    targets = torch.randint(0, 256, (2, 80))
    logits = 100.0 * F.one_hot(targets, 256)
    assert float(drawn(WAVE).loss(Pass(logits, targets, ()))["loss"]) < 1e-6


# ---- speakers


@pytest.mark.parametrize("config", [VOICES, GIVEN], ids=["lookup", "given"])
def test_speakers_are_meant_by_name_number_or_vector(config: SampleRNNPASEConfig) -> None:
    model = drawn(config)
    told = fed(model, rows=2, frames=1)
    told["normal"] = model.content.normal(None, 2)
    told.pop("speaker")
    places = torch.tensor([2, 0])
    by_number = model(**told, speaker=places).logits
    assert model.voices is not None
    by_vector = model(**told, speaker=model.voices.table(places)).logits
    assert torch.equal(by_number, model(**told, speaker=["carlo", "anna"]).logits)
    assert torch.equal(by_number, by_vector)
    everyone = model(**told, speaker="carlo").logits
    assert torch.equal(everyone[0], by_number[0]) and not torch.allclose(everyone[1], by_number[1], atol=1e-4)


def test_a_lookup_learns_and_what_was_given_does_not() -> None:
    assert "voices.table.weight" in dict(drawn(VOICES).named_parameters())
    given = drawn(GIVEN)
    assert not any(name.startswith("voices") for name, _ in given.named_parameters())
    assert {"voices.vectors", "voices.mean", "voices.scale"} <= given.state_dict().keys()


@pytest.mark.parametrize(
    ("config", "who", "said"),
    [
        (VOICES, None, "the model got no speaker"),
        (VOICES, ["anna", "ana"], "did you mean anna"),
        (VOICES, torch.zeros(2, 4), "expected a vector of 5"),
        (VOICES, torch.tensor([0, 3]), "expected a vector of 5"),
        (WAVE, "anna", "expected none"),
    ],
)
def test_who_cannot_speak_is_refused(config: SampleRNNPASEConfig, who: Any, said: str) -> None:
    model = drawn(config)
    told = fed(model)
    told.pop("speaker", None)
    with pytest.raises(ValueError, match=said):
        model(**told, speaker=who)


def test_content_is_normalised_by_the_statistics_of_who_speaks() -> None:
    """Of the named, of the numbered; of a vector and of a stranger everybody's; or those that are told."""
    model = drawn(VOICES)
    rows = torch.zeros(2, 3, 43)
    named, numbered = model.normal(["bruno", "carlo"], rows), model.normal(torch.tensor([1, 2]), rows)
    assert torch.equal(named, numbered)
    assert torch.equal(named, torch.stack([model.content.mean[1:3], model.content.std[1:3]], dim=1))
    everybody = model.normal(torch.zeros(2, 5), rows)
    assert torch.equal(everybody, model.normal(["dora", "emil"], rows)) and torch.equal(
        everybody[0], torch.stack([model.content.mean[3], model.content.std[3]])
    )
    told = fed(model)
    by_name = model(**(told | {"speaker": ["anna", "anna"]})).logits
    assert torch.equal(
        by_name, model(**(told | {"speaker": ["anna", "anna"]}), normal=model.normal("anna", rows)).logits
    )
    assert not torch.allclose(by_name, model(**(told | {"speaker": ["anna", "anna"]}), normal=named).logits, atol=1e-4)


# ---- sizes and refusals


def test_it_has_as_many_numbers_as_the_public_network() -> None:
    """126 speakers: 47,830,439 with 81 words of 15 that acoustic content never reads; 47,838,039 and 47,838,139."""
    words = {name: tuple(f"{name}{k}" for k in range(count)) for name, count in (
        ("phonemes", 42), ("vowels", 21), ("gpos", 10), ("tobi", 8)
    )}  # fmt: skip
    counted = {}
    for kind in ("world43", "linguistic", "linguistic_lf0"):
        config = SampleRNNPASEConfig(
            content=ContentConfig(kind, **words), speakers=tuple(str(i) for i in range(126)),
            labels=LabelConfig(codec="seed"),
        )  # fmt: skip
        with torch.device("meta"):
            counted[kind] = sum(p.numel() for p in SampleRNNPASE(config).parameters())
    assert counted == {"world43": 47_830_439 - 81 * 15, "linguistic": 47_838_039, "linguistic_lf0": 47_838_139}


def test_what_does_not_fit_together_is_refused() -> None:
    model = drawn(WAVE)
    told = fed(model, rows=1, frames=2)
    for wav, content in ((told["wav"][:, 1:], told["content"]), (told["wav"], told["content"][:, :1])):
        with pytest.raises(ValueError, match="expected 1 frames before and 0 after the predicted ones, and 80 samples"):
            model(wav, content)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"conds_size": -1}, "conds_size is -1"),
        ({"embedding_size": 0}, "embedding_size is 0"),
        ({"ratios": (20, 5)}, r"ratios is \(20, 5\), mel.hop_length 80"),
        ({"ratios": (80,)}, r"ratios is \(80,\)"),
        ({"speakers": ("anna", "anna")}, "some of them twice"),
        ({"content": ContentConfig("world43"), "settle": 8}, "expected content mel80"),
        ({"content": ContentConfig("world43"), "labels": LabelConfig(order=8)}, "expected content mel80"),
        ({"settle": -1}, "settle -1"),
        ({"mel": replace(MEL, hop_length=20), "ratios": (5, 4), "labels": LabelConfig(order=24)}, "at most one hop"),
    ],
)
def test_models_that_cannot_be_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SampleRNNPASEConfig(**wrong)


def test_a_mel_may_have_any_number_of_bands() -> None:
    config = SampleRNNPASEConfig(mel=replace(MEL, n_mels=40), speaker=SpeakerConfig(provider="none"))
    assert config.content.width == 40 and config.content.scored == tuple(range(40))


def test_what_cannot_be_said_is_refused() -> None:
    for config, given, said in (
        (WAVE, torch.zeros(1, 79, 4), "expected a float mel"),
        (VOICES, torch.zeros(1, 4, 44), r"expected float content of kind world43, \(B, F, 43\)"),
        (VOICES, torch.zeros(1, 4, 43, dtype=torch.int64), "expected float content"),
        (VOICES, torch.full((4, 43), torch.nan), "NaN or infinite"),
        (TEXT, torch.full((4, 55), torch.inf), "NaN or infinite"),
    ):
        who = "anna" if config.speakers else None
        with pytest.raises(ValueError, match=said):
            drawn(config).synthesize(given, who, seed=0)


def test_a_checkpoint_comes_back_with_its_words_statistics_and_voices(tmp_path: Path) -> None:
    config = replace(SUNG, content=replace(SUNG.content, tobi=("<unk>", "L-L%", "none")))
    model = drawn(config)
    model.save_pretrained(tmp_path)
    again = SampleRNNPASE.from_pretrained(tmp_path)
    assert again.config == config and again.content.config.vocabulary("tobi") == ("<unk>", "L-L%", "none")
    told: dict[str, Any] = fed(model)
    told["content"][..., 49] = told["content"][..., 49].clamp(max=2)
    one, other = model(**told).logits, again(**told).logits
    assert isinstance(one, Tensor) and torch.equal(one, other) and WHO == again.config.speakers
