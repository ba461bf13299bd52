"""samplernn-pase-tts TEXT|labels.lab out.wav: English text, or HTS labels, spoken by a trained SampleRNNPASE.

    text --lexicon.py, or Festival--> labels --prosody.py--> durations, pitch, mel
    content mel80            mel and pitch -> wave: the voice that prosody learnt, whoever the vocoder learnt from
    content linguistic       labels with those durations -> wave, in the voice of --speaker
    content linguistic_lf0   the same, with a pitch: of --reference, or the one that prosody guesses

Text is said sentence by sentence, and joined at the pauses between them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder_core import cli, inference

from .infer import add_speaker_arguments, speaker_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vocoder_core.mel import MelConfig
    from vocoder_core.speakers import Who

    from .hts_label import Phone
    from .model import SampleRNNPASE
    from .prosody import Prosody, Spoken

SOFTER = 4.0  # dB: average speech whose mel was sharpened may be louder than any recording, and would be clipped
LIMITS = """
English only. Words that the dictionary lacks are said by rules, and the log says which. Nothing is understood: of words
that are said in two ways the usual one is taken, and the melody is an average one, made of 51 minutes of one reader.
With content mel80 the voice is that reader's, whatever --speaker says of it; only with linguistic content does the
speaker choose the voice. A model with content linguistic_lf0 is no text-to-speech by itself: its pitch comes from a
recording of the same words (--reference), as the original's did, or from a guess.
"""


@dataclass(frozen=True)
class Sentence:
    """What is said between two pauses, and how, if a recording shows it: its pitch (F, 2), lags and voicing."""

    phones: list[Phone]
    pitch: Tensor | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="samplernn-pase-tts", description="Speech from English text, or from HTS labels.", epilog=LIMITS
    )
    parser.add_argument("text", help="what to say; or labels.lab, HTS full-context labels, with times or without")
    parser.add_argument("output", type=Path, help="out.wav (or .flac, .ogg)")
    parser.add_argument("--checkpoint", type=Path, help="a vocoder's folder (default: the built-in weights)")
    parser.add_argument("--prosody", type=Path, metavar="RUN", help="of samplernn-pase-prosody (default: built in)")
    parser.add_argument("--festival", action="store_true", help="labels by Festival instead of the CMU dictionary")
    parser.add_argument("--reference", type=Path, metavar="ref.wav", help="a recording of the same sentence: say it so")
    parser.add_argument("--speed", type=float, default=1.0, help="1.2: a fifth faster (default 1)")
    parser.add_argument("--save-labels", type=Path, metavar="out.lab", help="also write what is said and when")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same samples (default 0)")
    add_speaker_arguments(parser)
    inference.add_sampling_arguments(parser, ("int8", "int16"))
    cli.add_device_argument(parser)
    return cli.run(parser, _tts, argv)


def _tts(arguments: argparse.Namespace) -> None:
    from vocoder_core import audio

    from .hts_label import write
    from .model import SampleRNNPASE
    from .prosody import Prosody

    inference.require_folder(arguments.output)
    model = SampleRNNPASE.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    prosody = Prosody.from_pretrained(arguments.prosody)
    suit(model, prosody)
    speaker = voice(model, arguments)
    sentences = sentences_of(arguments.text, arguments.festival, arguments.reference)
    spoken = speak(prosody, sentences, arguments.speed)
    content, pitch = content_of(model, spoken, speaker)
    wav = model.synthesize(content[None], speaker, pitch=pitch, **inference.sampling(arguments))[0].cpu().numpy()
    audio.save(arguments.output, wav, model.sample_rate)
    if arguments.save_labels:
        write(arguments.save_labels, spoken.phones)
    print(f"{arguments.output}: {len(wav) / model.sample_rate:.2f} s at {model.sample_rate} Hz")


def suit(model: SampleRNNPASE, prosody: Prosody) -> None:
    """Raise ValueError, naming the field, where the vocoder reads another mel than prosody makes."""
    from vocoder_core.config import to_dict
    from vocoder_core.corpus.prepared import first_difference

    theirs, ours = to_dict(model.config), to_dict(prosody.config)
    names = ("mel", "level", "level_db")
    difference = first_difference({n: ours[n] for n in names}, {n: theirs[n] for n in names})
    if model.config.content.kind == "mel80" and difference:
        name, here, asked = difference
        raise ValueError(f"prosody makes mels with {name} = {here}, the vocoder reads {asked}: train both alike")


def sentences_of(text: str, festival: bool = False, reference: Path | None = None) -> list[Sentence]:
    """What a text, or a label file that it names, says. Raises ValueError where that is nothing.

    festival: ask Festival, whose durations are not kept. reference: a recording of it, whose times and pitch are.
    """
    from . import hts_label
    from . import reading as texts

    if text.endswith(".lab"):
        phones = hts_label.read(text)
        return [Sentence(phones) if reference is None else referred(phones, reference)]
    if reference is not None:
        return [aligned(text, reference)]
    return [Sentence(_transcribe(sentence, festival)) for sentence in texts.sentences(text) or [text]]


def _transcribe(text: str, festival: bool) -> list[Phone]:
    if not festival:
        from . import lexicon

        return lexicon.transcribe(text)
    from .festival import transcribe

    return [replace(phone, begin=0, end=0) for phone in transcribe(text)]


def aligned(text: str, reference: Path) -> Sentence:
    """The text as somebody said it in a recording: times by alignment, and the pitch."""
    from vocoder_core import audio

    from .align import SAMPLE_RATE, align

    wav, rate = audio.load(reference, SAMPLE_RATE)
    return Sentence(align(wav, rate, text), pitch_of(wav, rate))


def referred(phones: list[Phone], reference: Path) -> Sentence:
    """Timed labels, and the pitch of the recording that they are of."""
    from vocoder_core import audio

    from .align import SAMPLE_RATE
    from .hts_label import is_timed

    if not is_timed(phones):
        raise ValueError("--reference with labels needs their times in it; expected labels of that recording")
    return Sentence(phones, pitch_of(*audio.load(reference, SAMPLE_RATE)))


def pitch_of(wav: np.ndarray, sample_rate: int) -> Tensor:
    """Lags and voicing (F, 2) of a recording, every 5 ms."""
    import torch

    from vocoder_core.pitch import track

    return torch.cat(track(torch.from_numpy(wav)[None], sample_rate, sample_rate // 200)).T


def speak(prosody: Prosody, sentences: Sequence[Sentence], speed: float = 1.0) -> Spoken:
    """All sentences, one after another, as prosody would have them said."""
    import torch

    from .prosody import Spoken

    spoken = [prosody.speak(sentence.phones, speed, sentence.pitch) for sentence in sentences]
    phones: list[Phone] = []
    for made in spoken:
        start = phones[-1].end if phones else 0
        phones += [replace(phone, begin=phone.begin + start, end=phone.end + start) for phone in made.phones]
    return Spoken(phones, torch.cat([m.mel for m in spoken], dim=1), torch.cat([m.pitch for m in spoken]))


def voice(model: SampleRNNPASE, arguments: argparse.Namespace) -> Who | None:
    """Who is to speak, by the arguments of `add_speaker_arguments`. Raises ValueError where that is nobody."""
    if model.speaker_size and arguments.speaker is None and arguments.speaker_ref is None:
        known = ", ".join(model.config.speakers[:8])
        raise ValueError(f"this model has to be told who speaks; name one by --speaker ({known}), or --speaker-ref")
    return speaker_of(model, arguments)


def content_of(model: SampleRNNPASE, spoken: Spoken, speaker: Who | None) -> tuple[Tensor, Tensor | None]:
    """What the model is to hear, (M, F) of a mel or (F, C), and the pitch (1, F, 2) if it is told one."""
    import torch

    from . import linguistic

    config = model.config.content
    if config.kind == "mel80":
        return softer(spoken.mel, model.config.mel), spoken.pitch[None] if model.config.labels.pitch else None
    if not config.categories:
        raise ValueError(f"the model hears content {config.kind}, which no text has; expected mel80 or linguistic")
    words = {name: config.vocabulary(name) for name in set(config.categories.values())}
    content = torch.from_numpy(linguistic.frames(spoken.phones, words))
    if config.kind == "linguistic_lf0":
        content = torch.cat([content, melody(model, spoken, speaker)[: len(content)]], dim=1)
    return content, None


def softer(mel: Tensor, config: MelConfig) -> Tensor:
    """A log-mel (M, F), SOFTER dB below what it was."""
    step = {"ln": config.power * log(10) / 20, "log10": config.power / 20, "db": 1.0}[config.log]
    return mel - SOFTER * step / config.scale


def melody(model: SampleRNNPASE, spoken: Spoken, speaker: Who | None) -> Tensor:
    """ln F0 and voicing (F, 2), the melody in the range of the voice that is to speak, as its statistics have it."""
    import torch

    from .linguistic import LF0

    lag, voicing = spoken.pitch.unbind(1)
    height, voiced = torch.log(model.sample_rate / lag), voicing > 0
    if voiced.any():
        own = height[voiced]
        mean, std = model.normal(speaker, spoken.pitch[None])[0, :, LF0].cpu()
        height = (height - own.mean()) / own.std().clamp(min=1e-2) * std + mean
    return torch.stack([height, voiced.to(height)], dim=1)


if __name__ == "__main__":
    raise SystemExit(main())
