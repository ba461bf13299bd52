"""samplernn-pase-import: what the public code and the paper's save becomes a folder that computes the same."""

from __future__ import annotations

import json
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

from samplernn_pase import SampleRNNPASE, statistics
from samplernn_pase.import_checkpoint import main
from samplernn_pase.statistics import Moments, Statistics

sys.path.append(str(Path(__file__).parent))
from public_samplernn import MODES, Mode, Sizes, Weights, content, papers, weights, words

MIX = "conds_mixer.conds_mix.weight"


@pytest.fixture(scope="module")
def arrays(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "samplernn_pase.npz") as stored:
        return dict(stored)


def imported(tree: Any, folder: Path, *options: str, zipped: bool = True) -> SampleRNNPASE:
    torch.save(tree, folder / "in.ckpt", _use_new_zipfile_serialization=zipped)
    (folder / "words.json").write_text(json.dumps(words()))
    told = ["--vocabularies", str(folder / "words.json"), *options]
    assert main([str(folder / "in.ckpt"), str(folder / "out"), *told]) == 0
    return SampleRNNPASE.from_pretrained(folder / "out")


KINDS: dict[str, Callable[[Weights], Any]] = {
    "Lightning": lambda w: {
        "epoch": 3, "global_step": 100, "pytorch-lightning_version": "1.5.0", "state_dict": OrderedDict(w),
        "optimizer_states": [{"state": {}, "param_groups": []}], "lr_schedulers": [{"best": np.float64(5.2)}],
    },
    "the paper's": lambda w: papers(w) | {"epoch_n": 3, "lr_scheduler": {"best": np.float64(5.2)}},
    "bare": OrderedDict,
    "in float64": lambda w: {name: tensor.double() for name, tensor in w.items()},
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])  # torch < 1.6, of the paper's time, wrote bare pickles
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_the_original_says(
    kind: str, mode: Mode, zipped: bool, arrays: dict[str, np.ndarray], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = imported(KINDS[kind](weights(mode)), tmp_path, zipped=zipped)
    assert "3 speakers, 0 to 2" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.yaml", "model.safetensors"]
    told = content(mode, 3, 9)[:1]
    with torch.no_grad():
        made = model(torch.from_numpy(arrays["wave"])[:1], torch.cat([told[:, :1], told], 1), "2")
    found = made.logits.log_softmax(2)[0, ::11, ::17].numpy()
    np.testing.assert_allclose(found, arrays[f"{mode}.whole"], rtol=0, atol=1e-5)


def test_speakers_and_words_get_their_names_by_their_places(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("vctk_p225\n cmu_slt \n\ncmu_bdl\n")
    model = imported(weights("linguistic"), tmp_path, "--speakers", str(tmp_path / "names.txt"))
    assert model.config.speakers == ("vctk_p225", "cmu_slt", "cmu_bdl")
    wanted = weights("linguistic")["conds_mixer.speaker_embedding.weight"][1]
    assert torch.equal(model.who("cmu_slt", torch.zeros(1, 1))[0], wanted)
    assert model.config.content.vocabulary("tobi") == ("tobi0", "tobi1", "tobi2")


def test_content_is_normalised_by_the_statistics_that_are_given(tmp_path: Path) -> None:
    everybody, one = (Moments(np.full(43, mean), np.full(43, std)) for mean, std in ((1.0, 2.0), (3.0, 1.0)))
    statistics.write(tmp_path / "s.json", Statistics(everybody, {"1": one}))
    model = imported(weights(), tmp_path, "--statistics", str(tmp_path / "s.json"))
    assert model.normal(["0", "1"], torch.zeros(2, 1))[:, :, 5].tolist() == [[1, 2], [3, 1]]


def test_a_model_of_pase_vectors_has_no_table_and_takes_vectors(tmp_path: Path) -> None:
    """The paper's pase_seed: a mixer of 43 + 100 columns, and no embedding_state."""
    tree, mix = papers(weights()), torch.randn(6, 143)
    assert tree["model_state"] is not None
    tree["model_state"]["_conds_adaptation_layer.weight"] = mix
    model = imported(tree | {"embedding_state": None}, tmp_path)
    assert (model.config.speaker.provider, model.config.speaker.size, model.config.speakers) == ("pase", 100, ())
    vector, told = torch.randn(1, 100), content("acoustic", 1, 2)
    wanted = torch.cat([told[0], vector.expand(2, -1)], 1) @ mix.T + weights()["conds_mixer.conds_mix.bias"]
    torch.testing.assert_close(model.conds(told, vector)[0], wanted)


def test_it_trains_on_codes_as_the_paper_did_with_the_public_quantiser(tmp_path: Path) -> None:
    config = imported(weights(), tmp_path).config
    assert (config.labels.codec, config.labels.raw, config.weight_norm, config.combine) == (
        "seed",
        False,
        True,
        "concat",
    )
    assert (config.ratios, config.hidden_size, config.content.undefined) == ((20, 4), 8, "zero")


@pytest.mark.parametrize("mode", MODES)
def test_its_acoustic_fields_are_ahocoders(mode: Mode, tmp_path: Path) -> None:
    """Not WORLD's, which only look alike: a band aperiodicity where it had the highest voiced frequency."""
    config = imported(weights(mode), tmp_path).config.content
    assert config.acoustic == ("world" if mode == "linguistic" else "ahocoder")


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
    target, source = tmp_path / "ran", tmp_path / "model.ckpt"
    payload = Payload(os.system, f"touch {target}")
    if wrapping == "pickle":
        source.write_bytes(pickle.dumps(payload))
    else:
        tree = {"state_dict": weights(), "callbacks": payload}
        torch.save(tree, source, _use_new_zipfile_serialization=wrapping == "zip")
    assert main([str(source), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"samplernn-pase-import: error: {source}: ")
    assert "nothing in it was run" in error
    assert not target.exists()
    assert not (tmp_path / "out").exists()
    pickle.loads(pickle.dumps(payload))
    assert target.exists(), "the payload works, so this test can fail"


def without(name: str) -> Weights:
    return {key: tensor for key, tensor in weights().items() if key != name}


def changed(name: str, *shape: int) -> Weights:
    return weights() | {name: torch.ones(shape)}


SAMPLES = "sample_layer.emb_layer.weight"
LINGUISTIC = weights("linguistic")
REFUSED: dict[str, tuple[Any, list[str], str]] = {
    "another network": ({"encoder.weight": torch.ones(2, 2)}, [], "holds no SampleRNN's tensors; expected a"),
    "a list": ([1, 2], [], "holds a list; expected a dict of tensors"),
    "three tiers": (changed("frames_layers.2.rnn_h0", 1, 8), [], "holds frames_layers.2.rnn_h0, which the public"),
    "a layer more": (changed("frames_layers.0.rnn.weight_ih_l1", 24, 8), [], "holds frames_layers.0.rnn.weight_ih_l1"),
    "two layers": (changed("frames_layers.0.rnn_h0", 2, 8), [], "has 256 classes and 2 GRU layers in a tier"),
    "ten bits": (changed(SAMPLES, 1024, 256), [], "has 1024 classes and 1 GRU layers in a tier; expected 256 and 1"),
    "too few names": (weights(), ["--speakers", "names"], "--speakers names 2; the checkpoint has 3 speakers"),
    "no names": (weights(), ["--speakers", "none"], "no such file; expected one with a name a line"),
    "no words": (LINGUISTIC, [], "'gpos': 4, 'tobi': 3} words, and it does not say which; name them by --vocabularies"),
    "few words": (LINGUISTIC, ["--vocabularies", "few"], "has 1 words for phonemes; expected a list of the table's 7"),
    "other words": (LINGUISTIC, ["--vocabularies", "other"], "has a NoneType for phonemes; expected a list"),
    "no JSON": (LINGUISTIC, ["--vocabularies", "names"], "--vocabularies names: no JSON"),
    "a JSON list": (LINGUISTIC, ["--vocabularies", "list"], "--vocabularies list: holds a list; expected an object"),
    "not whole": (without("frames_layers.0.upsample.weight_g"), [], "one whole network: mid.spread.parametrizations"),
    "no mixer": (without(MIX), [], "has no mixer of speaker and content"),
    "another mixer": (changed(MIX, 6, 99), [], "mixer reads 99 numbers; expected a speaker's and one of [43, 85, 87]"),
    "no tier": (without("frames_layers.0.rnn_h0"), [], "has no tensor for mid.first"),
    "misshapen": (changed("sample_layer.comb_layer.weight", 8, 23), [], "size mismatch"),
    "flat": (changed("frames_layers.0.upsample_bias", 160), [], "upsample_bias is of shape (160,); expected"),
    "not a number": (weights() | {SAMPLES: torch.full((256, 256), torch.nan)}, [], "holds NaN or infinite"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_of_the_public_networks_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"names": "p225\np226\n", "few": '{"phonemes": ["a"]}', "other": '{"phones": []}', "list": "[1]"}
    for file, text in files.items():
        Path(file).write_text(text)
    tree, options, said = REFUSED[name]
    torch.save(tree, "in.ckpt")
    assert main(["in.ckpt", "out", *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not Path("out").exists()


def test_no_file_and_half_a_file_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.ckpt"), str(tmp_path / "out")]) == 2
    assert "no such file; expected a checkpoint of davidalvarezdlt/samplernn_pase" in capsys.readouterr().err
    torch.save(weights("acoustic", Sizes(hidden=3)), tmp_path / "whole.ckpt")
    (tmp_path / "half.ckpt").write_bytes((tmp_path / "whole.ckpt").read_bytes()[:3000])
    assert main([str(tmp_path / "half.ckpt"), str(tmp_path / "out")]) == 2
    assert "not a checkpoint that can be read safely" in capsys.readouterr().err
