"""What goes wrong in the public code around the network: corpora, files, runs. As in test_original_defects.py.

3  librosa writes files, as it no longer does         5  a resumed run has forgotten Adam
3  librosa makes filters, as it no longer does        5  a file of weights is run
4  the second preparation forgets the first           6  "every 50k steps" is some time later
4  a command reads its arguments when imported       10  a missing path is called None
4  the loudest sample of 16 bits is the most quiet   11  nothing is measured
4  speakers are numbers                              11  who was not in training is an error
4  VCTK 0.92 holds nothing
4  an index is run                    5 (of the split) what is held out is trained on
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from vocoder_core import audio, layouts, mel, run_state, speakers, train, training, vocoder
from vocoder_core.corpus import Corpus, CorpusConfig, block, prepare
from vocoder_core.corpus import prepared as opened
from vocoder_core.mel_presets import PRESETS
from vocoder_core.train import TrainConfig
from vocoder_core.utterance import Utterance
from vqvaevc import VQVAEVC, check, preprocess
from vqvaevc.check import Check, CheckConfig, spoken_by
from vqvaevc.train import main as train_command
from vqvaevc.voices import OneHot

sys.path.append(str(Path(__file__).parent))
from small_world import (
    Patch,
    Promise,
    World,
    cut,
    fitted,
    kept_and_broken,
    network,
    noise,
    prepared,
    weights,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepared(tmp_path_factory.mktemp("corpus"))


# ---- what is promised


def files_are_written_without_librosa(world: World) -> None:
    audio.save(world.folder / "out.wav", np.zeros(64, np.float32), 16_000)
    assert len(soundfile.read(world.folder / "out.wav")[0]) == 64


def mels_are_made_without_librosa(_: World) -> None:
    with mock.patch.dict(sys.modules, {"librosa": None}):
        assert mel.log_mel(noise(4096), replace(PRESETS["asr16"], n_mels=79)).isfinite().all()


def preparing_again_changes_nothing(world: World) -> None:
    assert len(prepared(world.folder).entries) == 5
    assert len(prepared(world.folder).entries) == 5


def commands_do_nothing_until_they_are_called(_: World) -> None:
    text = Path(preprocess.__file__).read_text(encoding="utf-8").replace(GUARD, WRITTEN)
    with mock.patch.object(sys, "argv", ["something", "else"]), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(text, "preprocess", "exec"), {"__name__": "preprocess", "__package__": "vqvaevc"})


GUARD = WRITTEN = 'if __name__ == "__main__":'


def a_sample_at_the_lowest_value_is_loud(world: World) -> None:
    wav = np.zeros(8000, np.int16)
    wav[100] = -32768
    soundfile.write(world.folder / "loud.wav", wav, 16_000, subtype="PCM_16")
    loud = [Utterance("loud", "p225", world.folder / "loud.wav", None, "train")]
    prepare(loud, world.folder / "data", CorpusConfig(16_000, 64), progress=False, jobs=1)
    assert len(Corpus.open(world.folder / "data").entries) == 1


def a_voice_has_a_name_wherever_the_weights_go(world: World) -> None:
    network().save_pretrained(world.folder / "model")
    made = VQVAEVC.from_pretrained(world.folder / "model")
    assert made.who(["p303", "p225"], noise(64, 2)).tolist() == [[0, 1], [1, 0]]


def the_newer_vctk_is_found(world: World) -> None:
    for stem in ("p225_001_mic1", "p225_001_mic2"):
        path = world.folder / "VCTK-Corpus-0.92" / "wav48_silence_trimmed" / "p225" / f"{stem}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(100), 48_000)
    (found,) = layouts.find(world.folder / "VCTK-Corpus-0.92")
    assert (found.speaker, found.path.name) == ("p225", "p225_001_mic1.flac")


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def a_corpus_is_read_and_not_run(world: World) -> None:
    prepared(world.folder)
    (world.folder / "data" / "manifest.jsonl").write_bytes(pickle.dumps(Payload(world.folder / "ran")))
    with contextlib.suppress(Exception):
        Corpus.open(world.folder / "data")
    assert not (world.folder / "ran").exists()


def weights_are_read_and_not_run(world: World) -> None:
    network().save_pretrained(world.folder / "model")
    torch.save({"weight": Payload(world.folder / "ran")}, world.folder / "model" / "model.safetensors")
    with contextlib.suppress(Exception):
        VQVAEVC.from_pretrained(world.folder / "model")
    assert not (world.folder / "ran").exists()


def a_run_goes_on_as_if_it_had_never_stopped(world: World) -> None:
    whole = fitted(world, "whole", 4)
    fitted(world, "parts", 2)
    assert torch.equal(weights(fitted(world, "parts", 4)), weights(whole))


def it_listens_when_it_was_told_to(world: World) -> None:
    """After steps 2 and 4, and where a run ends; that it had stopped before makes no difference."""
    for steps in (3, 5):
        fitted(world, "run", steps, valid_every=2)
    rows = [json.loads(line) for line in (world.folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "valid_listened" in row] == [2, 3, 4, 5]


def a_missing_folder_is_asked_for_by_its_name(world: World) -> None:
    with contextlib.chdir(world.folder), contextlib.redirect_stderr(io.StringIO()) as said:
        for arguments in ([], ["nowhere", "run", "--config", "tiny"]):
            with contextlib.suppress(SystemExit):
                train_command(arguments)
    assert "required: data, run" in said.getvalue()
    assert "nowhere: not a prepared corpus" in said.getvalue()


def held_out_speech_is_not_trained_on(world: World) -> None:
    groups = Check(world.corpus, CheckConfig()).held_out.groups
    assert {entry.id for group in groups.values() for entry in group} == {"2", "3", "4"}
    assert {entry.id for entry in cut(world).audio.entries} == {"0", "1"}


def held_out_speech_is_measured(world: World) -> None:
    told = Check(world.corpus, CheckConfig(synthesize=0, seconds=0.5))(network(), 1, world.folder)
    assert {"seen_bits", "unseen_bits", "perplexity"} <= told.keys()
    assert 14 < told["unseen_bits"] < 18, "16 bits that nobody has learned to foresee"


def whoever_speaks_can_be_copied(_: World) -> None:
    made = network()
    assert made.infer(noise(64), spoken_by(made, ["p999"]), seed=0, backend="torch").isfinite().all()


# ---- what was done instead


def written_by_librosa(path: Path, wav: np.ndarray, rate: int) -> None:
    librosa = pytest.importorskip("librosa")
    librosa.output.write_wav(str(path), wav, sr=rate)


def filters_of_librosa(config: Any, *_: Any) -> Tensor:
    import librosa

    return torch.from_numpy(librosa.filters.mel(config.sample_rate, config.n_fft, n_mels=config.n_mels))


def reopened(folder: Path, _: Any) -> bool:
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    return False


def only_what_was_missing(folder: Path, *rest: Any) -> None:
    """The index names what this run made: what lay there was skipped, and is named no more."""
    if (folder / "manifest.jsonl").exists():
        (folder / "manifest.jsonl").write_text("")
    else:
        FINISH(folder, *rest)


def as_16_bits(wav: np.ndarray, _: CorpusConfig) -> float:
    quant = (wav * 32768).astype(np.int16)
    if max(abs(quant)) < 2048:
        raise ValueError("audio fragment too quiet")
    return 1.0


def numbers_in_names(who: Any, _: Any) -> Tensor:
    return torch.tensor([int(name) for name in who])


def only_wav(root: Path) -> list[Utterance]:
    return [Utterance(path.stem, path.parent.name, path) for path in root.rglob("*.wav")]


def unpickled(path: Path) -> Any:
    return pickle.loads(path.read_bytes()) if path.read_bytes()[:1] == b"\x80" else ENTRIES(path)


def loaded(path: Path) -> Any:
    with path.open("rb") as file:  # by a path that ends so, torch would read safetensors
        return torch.load(file, weights_only=False)


def without_adam(self: Any, state: dict[str, Any], rank: int) -> None:
    RESUME(self, state | {"optimizer": self.optimizer.state_dict()}, rank)


def some_time_later(state: Any, config: TrainConfig, *rest: Any) -> None:
    """At the first end of an epoch, here of three steps, that comes more than so many steps after the last time."""
    due = state.step % 3 == 0 and state.step > config.valid_every
    REPORT(state, replace(config, valid_every=state.step if due else 10**6), *rest)


def optional(*names: str) -> Any:
    made = PARSER(*names)
    for action in made._actions[1:3]:
        action.nargs, action.type, action.required = "?", lambda text: Path(str(text)), False
        action.default = "None"
    return made


def of_every_recording(self: Corpus, _: str) -> Any:
    return self.entries


def by_its_number(self: OneHot, name: str) -> Tensor:
    return self.table(torch.tensor(self.names.index(name)))


PREPARE = sys.modules[prepare.__module__]
FINISH, ENTRIES, PARSER = PREPARE._finish, opened._entries, training.parser
RESUME, REPORT = run_state.RunState.load_state_dict, train._report
DEFECTS: dict[str, tuple[Promise, list[Patch]]] = {
    "3 writes": (files_are_written_without_librosa, [(audio, "save", written_by_librosa)]),
    "3 filters": (mels_are_made_without_librosa, [(mel, "_filterbank_tensor", filters_of_librosa)]),
    "4 again": (
        preparing_again_changes_nothing, [(PREPARE, "_claim", reopened), (PREPARE, "_finish", only_what_was_missing)],
    ),
    "4 imported": (commands_do_nothing_until_they_are_called, [(sys.modules[__name__], "WRITTEN", "if True:")]),
    "4 loudest": (a_sample_at_the_lowest_value_is_loud, [(block, "_gain", as_16_bits)]),
    "4 numbers": (a_voice_has_a_name_wherever_the_weights_go, [(speakers, "numbers", numbers_in_names)]),
    "4 VCTK": (the_newer_vctk_is_found, [(layouts, "find", only_wav)]),
    "4 index": (a_corpus_is_read_and_not_run, [(opened, "_entries", unpickled)]),
    "5 Adam": (a_run_goes_on_as_if_it_had_never_stopped, [(run_state.RunState, "load_state_dict", without_adam)]),
    "5 weights": (weights_are_read_and_not_run, [(vocoder, "_read_tensors", loaded)]),
    "5 split": (held_out_speech_is_not_trained_on, [(Corpus, "split", of_every_recording)]),
    "6": (it_listens_when_it_was_told_to, [(train, "_report", some_time_later)]),
    "10": (a_missing_folder_is_asked_for_by_its_name, [(training, "parser", optional)]),
    "11 figures": (held_out_speech_is_measured, [(check, "bits_of", lambda *_: {})]),
    "11 unseen": (whoever_speaks_can_be_copied, [(OneHot, "vector", by_its_number)]),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFECTS)
def test_a_promise_is_kept_and_broken_by_its_defect(
    name: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promise, patches = DEFECTS[name]
    kept_and_broken(promise, patches, World(tmp_path, corpus), monkeypatch)
