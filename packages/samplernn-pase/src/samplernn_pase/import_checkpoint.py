"""samplernn-pase-import CHECKPOINT FOLDER: a checkpoint folder out of weights trained with the public code.

    davidalvarezdlt/samplernn_pase     epoch=9-step=9999.ckpt
    the paper's code (2019)            NAME-modeling-10.pkl

Sizes and the mode of conditioning are read off the tensors; classes are those of the public quantiser. What such a file
does not keep has to be told: names of the speakers; statistics of the content; and the words behind the rows of the
linguistic tables, whose order the published code left to chance (a set's, another one in each process; the paper's
code sorted them).

A checkpoint is a pickle, which can name any function to be called; here none is: see vocoder_core.foreign_checkpoint.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, foreign_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from .model import SampleRNNPASE, SampleRNNPASEConfig
    from .public_weights import Layout

KINDS = ("phonemes", "vowels", "gpos", "tobi")
CLASSES = 256  # of their quantiser, whose mu is 255 whatever the number of classes


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of samplernn-pase-import."""
    parser = argparse.ArgumentParser(
        prog="samplernn-pase-import", description="Convert a checkpoint of the public SampleRNN with PASE, safely."
    )
    parser.add_argument("checkpoint", type=Path, help="the .ckpt of the published code, the .pkl of the paper's")
    parser.add_argument("folder", type=Path, help="the checkpoint folder to write, for --checkpoint")
    parser.add_argument(
        "--speakers", type=Path, metavar="FILE",
        help="names of its speakers, one a line, in the order of its numbers (default: the numbers themselves)",
    )  # fmt: skip
    parser.add_argument(
        "--vocabularies", type=Path, metavar="JSON",
        help="linguistic content: lists of words, phonemes, vowels, gpos and tobi, in the order of its tables",
    )  # fmt: skip
    parser.add_argument(
        "--statistics", type=Path, metavar="JSON",
        help="means and deviations, as DATA/features/statistics-KIND.json (default: content comes normalised)",
    )  # fmt: skip
    return cli.run(parser, _import, argv)


def _import(arguments: argparse.Namespace) -> None:
    from . import statistics
    from .public_weights import EXPECTED, layout, renamed, state_dict

    theirs = state_dict(foreign_checkpoint.read(arguments.checkpoint, EXPECTED))
    how = layout(theirs)
    tensors = renamed(theirs, how)
    names = read_names(arguments.speakers) if arguments.speakers else None
    words = read_json("--vocabularies", arguments.vocabularies) if arguments.vocabularies else None
    config = derive_config(tensors, how, names, words)
    model = network(tensors, config)
    if arguments.statistics:
        model.content.set_statistics(statistics.read(arguments.statistics, config.content.width))
    model.save_pretrained(arguments.folder)
    weights, known = sum(tensor.numel() for tensor in tensors.values()), config.speakers
    said = f"{len(known)} speakers, {known[0]} to {known[-1]}" if known else "speakers by their vectors"
    print(f"{arguments.folder}: {weights:,} weights, content {config.content.kind}, {said}")


# ---- files beside the checkpoint


def read_names(path: Path) -> tuple[str, ...]:
    """The lines of a file. Raises FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"--speakers {path}: no such file; expected one with a name a line")
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def read_json(option: str, path: Path) -> dict[str, Any]:
    """A JSON object. Raises FileNotFoundError, or ValueError for anything else."""
    if not path.is_file():
        raise FileNotFoundError(f"{option} {path}: no such file; expected a JSON object in it")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{option} {path}: no JSON ({error}); expected an object") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{option} {path}: holds a {type(tree).__name__}; expected an object")
    return tree


# ---- what it becomes


def derive_config(
    tensors: dict[str, Tensor], how: Layout, names: tuple[str, ...] | None = None, words: dict[str, Any] | None = None
) -> SampleRNNPASEConfig:
    """The config of a network whose tensors, by our names, have these shapes.

    names: of its speakers, None: their numbers. words: the vocabularies of linguistic content. Raises ValueError for a
    missing tensor, too many or few names or words, or sizes that this package does not have.
    """
    from .labels import LabelConfig
    from .model import SampleRNNPASEConfig
    from .public_weights import EXPECTED
    from .speaker import SpeakerConfig

    def size(name: str, axis: int = 0) -> int:
        if name not in tensors or tensors[name].dim() <= axis:
            raise ValueError(f"the checkpoint has no tensor for {name}; expected {EXPECTED}")
        return tensors[name].shape[axis]

    classes, layers = size("sample.embedding.weight"), size("mid.first")
    if classes != CLASSES or layers != 1:
        raise ValueError(
            f"the checkpoint has {classes} classes and {layers} GRU layers in a tier; expected {CLASSES} and 1"
        )
    count = how.speakers or 0
    speakers = tuple(str(number) for number in range(count)) if names is None else names
    if len(speakers) != count:
        raise ValueError(f"--speakers names {len(speakers)}; the checkpoint has {count} speakers: expected a name each")
    provider: Any = "lookup" if count else {100: "pase", 256: "pase+"}.get(how.speaker, "file")
    return SampleRNNPASEConfig(
        content=_content(tensors, how, words),
        speaker=SpeakerConfig(provider=provider, size=how.speaker),
        labels=LabelConfig(codec="seed"),
        ratios=(size("mid.spread.bias"), size("top.spread.bias")),
        hidden_size=size("mid.rnn.weight_hh_l0", 1), embedding_size=size("sample.embedding.weight", 1),
        conds_size=size("mixer.mix.bias"), combine="concat", weight_norm=True, speakers=speakers,
    )  # fmt: skip


def _content(tensors: dict[str, Tensor], how: Layout, words: dict[str, Any] | None) -> Any:
    """The config of the content: undefined numbers are the original's zeros, its acoustic fields are Ahocoder's."""
    from .content import ContentConfig

    kind: Any = how.kind
    if kind == "world43":
        return ContentConfig(kind=kind, acoustic="ahocoder", undefined="zero")
    rows = {name: len(tensors.get(f"content.tables.{name}.weight", ())) for name in KINDS}
    if words is None:
        raise ValueError(
            f"the checkpoint's tables have {rows} words, and it does not say which; name them by --vocabularies FILE"
        )
    told: dict[str, Any] = {name: words.get(name) for name in KINDS}
    for name, count in rows.items():
        if not isinstance(told[name], list) or len(told[name]) != count:
            found = f"{len(told[name])} words" if isinstance(told[name], list) else f"a {type(told[name]).__name__}"
            raise ValueError(f"--vocabularies has {found} for {name}; expected a list of the table's {count}")
        told[name] = tuple(str(word) for word in told[name])
    acoustic: Any = "ahocoder" if kind == "linguistic_lf0" else "world"
    return ContentConfig(kind=kind, acoustic=acoustic, undefined="zero", embedding_size=how.word, **told)


def network(tensors: dict[str, Tensor], config: SampleRNNPASEConfig) -> SampleRNNPASE:
    """The network with these weights. Raises ValueError for missing, superfluous, misshapen or non-finite tensors."""
    from .model import SampleRNNPASE

    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"the checkpoint's {name} holds NaN or infinite weights; use an earlier checkpoint")
    model = SampleRNNPASE(config)
    missing = set(dict(model.named_parameters())) - set(tensors)
    try:
        model.load_state_dict(tensors, strict=False)
        unknown = set(tensors) - set(model.state_dict())
    except RuntimeError as error:
        missing, unknown = {" ".join(str(error).split())[:300]}, set()
    if missing or unknown:
        raise ValueError(f"the checkpoint does not hold one whole network: {sorted(missing | unknown)[0]}")
    return model.eval()


if __name__ == "__main__":
    raise SystemExit(main())
