"""Content: every field of every kind as the tiers hear it, by formulas; statistics by speaker; words in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from samplernn_pase import linguistic
from samplernn_pase.content import CLIP, UNDEFINED, Content, ContentConfig
from samplernn_pase.statistics import Moments, Statistics

KINDS = ("mel80", "world43", "linguistic", "linguistic_lf0")
WIDTHS = {"mel80": 80, "world43": 43, "linguistic": 55, "linguistic_lf0": 57}
HEARD = {"mel80": 80, "world43": 43, "linguistic": 195, "linguistic_lf0": 197}  # the paper's, with words of 15


def raw(kind: str, rows: int = 2, frames: int = 6, seed: int = 0) -> Tensor:
    """Content with whole numbers where words are meant."""
    config = ContentConfig(kind)
    draw = torch.Generator().manual_seed(seed)
    made = 2 * torch.randn(rows, frames, config.width, generator=draw)
    for field, name in config.categories.items():
        count = len(config.vocabulary(name))
        made[..., field] = torch.randint(0, count, (rows, frames), generator=draw).float()
    return made


def statistics(kind: str, names: tuple[str, ...]) -> Statistics:
    width = WIDTHS[kind]
    draw = np.random.default_rng(0)
    moments = [Moments(draw.normal(size=width), draw.uniform(0.5, 2, width)) for _ in (*names, "")]
    return Statistics(moments[-1], dict(zip(names, moments)))


def made(kind: str, **more: object) -> Content:
    torch.manual_seed(0)
    content = Content(ContentConfig(kind, **more), ("anna", "bruno"))
    content.set_statistics(statistics(kind, ("anna", "bruno")))
    return content


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_heard_as_its_kind_says(kind: str) -> None:
    """Numbers in deviations of the speaker's mean, switches as they are, words by their vectors, in this order."""
    content, values = made(kind), raw(kind)
    config = content.config
    assert (config.width, config.told) == (WIDTHS[kind], HEARD[kind])
    normal = content.normal(torch.tensor([1, -1]), 2)
    heard = content(values, normal).detach()
    assert heard.shape == (2, 6, HEARD[kind])
    own = statistics(kind, ("anna", "bruno"))
    for row, moments in enumerate((own.of("bruno") if config.by_speaker else own.everybody, own.everybody)):
        expected = []
        for field in range(config.width):
            if field in config.categories:
                continue
            value = values[row, :, field].numpy()
            if field in config.scored:
                value = np.clip((value - moments.mean[field]) / moments.std[field], -8, 8)
            expected.append(value)
        for field, name in config.categories.items():
            table = content.tables[name].weight.detach().numpy()  # type: ignore[union-attr]
            expected.extend(table[values[row, :, field].long().numpy()].T)
        assert np.allclose(heard[row].numpy().T, np.stack(expected), atol=1e-5)


def test_which_fields_are_numbers_switches_and_words() -> None:
    """The paper's layout: phone, its neighbours, vowel, parts of speech and tone are words."""
    config = ContentConfig("linguistic_lf0")
    words = {2, 3, 4, 5, 6, 27, 31, 33, 41, 49}
    switches = {1, 9, 10, 12, 13, 28, 29, 56}
    assert set(config.categories) == words and set(config.scored) == set(range(57)) - words - switches
    assert ContentConfig("world43").scored == tuple(range(42)) and not ContentConfig("world43").categories
    assert {*ContentConfig("mel80").scored} == {*range(80)}
    assert {*config.categories.values()} == {"phonemes", "vowels", "gpos", "tobi"} == {*linguistic.VOCABULARIES}


def test_a_mel_is_normalised_by_everybodys_statistics() -> None:
    """It says who speaks as it is; what is a speaker's own would be taken out of it."""
    content = made("mel80")
    assert content.mean.shape == (1, 80)
    assert torch.equal(content.normal(torch.tensor([0, 1]), 2), content.normal(None, 2))


def test_statistics_lie_by_name_and_strangers_get_everybodys() -> None:
    content, own = made("world43"), statistics("world43", ("anna", "bruno"))
    normal = content.normal(torch.tensor([1, 0, -1]), 3)
    for row, moments in zip(normal, (own.of("bruno"), own.of("anna"), own.everybody)):
        assert np.allclose(row[0], moments.mean, atol=1e-6) and np.allclose(row[1], moments.std, atol=1e-6)
    assert torch.equal(content.normal(None, 2)[1], normal[2])
    assert {"mean", "std"} <= content.state_dict().keys(), "kept with the weights"


def test_what_lies_far_away_is_held_and_what_does_not_move_is_zero() -> None:
    content, values = made("world43"), raw("world43")
    values[0, 0, 3] = 1e10  # once log F0 was -1e10, and the loss 170 million
    normal = content.normal(None, 2)
    normal[:, 1, 5] = 1e30  # statistics.STILL
    heard = content(values, normal)
    assert heard[0, 0, 3] == CLIP == 8 and heard[..., 5].abs().max() < 1e-20 and heard.isfinite().all()


def test_undefined_numbers_are_a_value_that_no_other_number_is() -> None:
    """Nor are they the count of zero, as in the original, where both are asked for."""
    values = raw("linguistic")
    values[0, 0, 7], values[0, 1, 7] = torch.nan, 0.0
    own, zero = made("linguistic"), made("linguistic", undefined="zero")
    place = own.plain.index(7)
    normal = own.normal(None, 2)
    heard, theirs = own(values, normal), zero(values, normal)
    assert heard[0, 0, place] == UNDEFINED == -2 and heard.isfinite().all()
    assert theirs[0, 0, place] == theirs[0, 1, place] == -normal[0, 0, 7] / normal[0, 1, 7]


@pytest.mark.parametrize(("kind", "field"), [("world43", 41), ("linguistic_lf0", 55)])
def test_who_is_never_voiced_has_the_pitch_of_the_mean(kind: str, field: int) -> None:
    content, values = made(kind), raw(kind)
    values[..., field] = torch.nan
    assert not content(values, content.normal(None, 2))[..., content.plain.index(field)].any()


def test_unknown_words_are_the_first() -> None:
    """Index 0 is <unk>: whatever the vocabulary lacks, below it or beyond."""
    content = made("linguistic")
    values = raw("linguistic")
    for field, name in content.config.categories.items():
        values[0, :3, field] = torch.tensor([0.0, -1.0, len(content.config.vocabulary(name))])
    heard = content(values, content.normal(None, 2))[0, :, len(content.plain) :]
    assert torch.equal(heard[0], heard[1]) and torch.equal(heard[0], heard[2])


def test_vocabularies_are_ordered_and_the_models_own() -> None:
    """D7: a set's order is another one in every process. An own one makes the table as long as it is."""
    for name, words in linguistic.VOCABULARIES.items():
        assert isinstance(words, tuple) and len(set(words)) == len(words), name
    own = ContentConfig("linguistic", gpos=("<unk>", "det", "content"))
    assert own.vocabulary("gpos") == ("<unk>", "det", "content")
    assert own.vocabulary("tobi") == linguistic.VOCABULARIES["tobi"]
    assert Content(own, ()).tables["gpos"].num_embeddings == 3  # type: ignore[union-attr]
    assert Content(ContentConfig("linguistic", embedding_size=4), ()).config.told == 45 + 40


def test_look_ahead_is_the_next_frame_beside_this_one() -> None:
    plain, ahead = made("world43"), made("world43", look_ahead=True)
    values, normal = raw("world43"), plain.normal(None, 2)
    heard, both = plain(values, normal), ahead(values, normal)
    assert ahead.config.told == 86 and both.shape == (2, 5, 86)
    assert torch.equal(both[..., :43], heard[:, :-1]) and torch.equal(both[..., 43:], heard[:, 1:])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"embedding_size": 0}, "content.embedding_size is 0"), ({"tobi": ("a", "b", "a")}, "content.tobi has 3 words")],
)
def test_content_that_cannot_be_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ContentConfig("linguistic", **wrong)
