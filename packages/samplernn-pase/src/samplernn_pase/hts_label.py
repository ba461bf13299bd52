"""HTS full-context labels: one phone a line, with its times and 53 facts about where it stands in its sentence.

    0 1300000 x^x-sil+hh=iy@x_x/A:0_0_0/B:x-x-x@...|x/C:1+1+2/.../J:13+9-2         begin end context, in 100 ns

The English format of HTS, as Festival writes it (Zen, "An example of context-dependent label format for HMM-based
speech synthesis in English", 2006). State-level labels (`...[2]` to `[6]`, five lines a phone), which HTK's forced
alignment gives and which the original implementation died of, are merged to phones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

TEMPLATE = (
    "p1^p2-p3+p4=p5@p6_p7/A:a1_a2_a3/B:b1-b2-b3@b4-b5&b6-b7#b8-b9$b10-b11!b12-b13;b14-b15|b16/C:c1+c2+c3/D:d1_d2"
    "/E:e1+e2@e3+e4&e5+e6#e7+e8/F:f1_f2/G:g1_g2/H:h1=h2@h3=h4|h5/I:i1=i2/J:j1+j2-j3"
)
FIELDS = tuple(re.findall(r"[a-jp]\d+", TEMPLATE))  # p1 ... j3, in the order of a label
UNDEFINED = "x"
SILENCES = frozenset({"sil", "pau", "sp", "ssil", "h#", "brth"})  # of HTK, Festival and their phone sets
TICKS_PER_SECOND = 10_000_000


@dataclass(frozen=True)
class Phone:
    """One phone: what stands in its label and when it is said; begin == end == 0 where that is not known."""

    context: tuple[str, ...]  # one string for each of FIELDS
    begin: int = 0  # in 100 ns
    end: int = 0

    @property
    def name(self) -> str:
        """The phone itself, p3."""
        return self.context[2]

    def __str__(self) -> str:
        """Its line in a label file."""
        values = dict(zip(FIELDS, self.context, strict=True))
        context = re.sub(r"[a-jp]\d+", lambda field: values[field.group()], TEMPLATE)
        return f"{self.begin} {self.end} {context}" if self.end else context


def read(path: str | os.PathLike[str]) -> list[Phone]:
    """The phones of a label file, phone-level or state-level, with times or without.

    Raises FileNotFoundError, and ValueError with file and line for what is no such label.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; expected HTS full-context labels")
    return parse(Path(path).read_text("utf-8", errors="replace").splitlines(), str(path))


def parse(lines: Iterable[str], source: str = "labels") -> list[Phone]:
    """The phones of a label file's lines; blank lines count for nothing. `source` names the file in errors."""
    phones = list(_merged(_numbered(lines, source)))
    if not phones:
        raise ValueError(f"{source}: holds no label; expected one phone a line")
    return phones


def write(path: str | os.PathLike[str], phones: Sequence[Phone]) -> None:
    """Write a label file, whole or not at all."""
    temporary = Path(f"{path}.tmp")
    temporary.write_text("".join(f"{phone}\n" for phone in phones), "utf-8")
    temporary.replace(path)


def is_timed(phones: Sequence[Phone]) -> bool:
    """Whether it is known when each of them is said."""
    return all(phone.end > phone.begin for phone in phones)


def _pattern() -> re.Pattern[str]:
    """Each field is what stands before the next separator, so that a bad line costs one pass."""
    parts = re.split(r"([a-jp]\d+)", TEMPLATE)  # separator, field, separator, ...
    ends = [*(part[0] for part in parts[2:-1:2]), r"\s\["]
    separators = [re.escape(part) for part in parts[0:-1:2]]
    context = "".join(
        f"{separator}([^{re.escape(end) if len(end) == 1 else end}]+)"
        for separator, end in zip(separators, ends, strict=True)
    )
    return re.compile(rf"\s*(?:(\S+)\s+(\S+)\s+)?{context}(?:\[(\d+)\])?\s*")


_LABEL = _pattern()
_Line = tuple[Phone, int | None]  # and the number of its state


def _numbered(lines: Iterable[str], source: str) -> Iterator[_Line]:
    """Each line as a phone, or part of one, from where the one before it ends."""
    before: Phone | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{source}:{number}"
        match = _LABEL.fullmatch(line)
        if not match:
            came = f"{line.strip()[:60]!r} is no HTS full-context label"
            raise ValueError(f"{where}: {came}; expected [begin end] {TEMPLATE}")
        begin, end, *context, state = match.groups()
        phone = Phone(tuple(context))
        if begin is not None:
            phone = replace(phone, begin=_ticks(begin, where), end=_ticks(end, where))
            _check_times(phone, before, where)
        if before is not None and (before.end == 0) != (begin is None):
            raise ValueError(f"{where}: some lines have times and some have none; expected them on all or on none")
        before = phone
        yield phone, None if state is None else int(state)


def _check_times(phone: Phone, before: Phone | None, where: str) -> None:
    due = before.end if before is not None else 0
    if phone.begin != due or phone.end <= phone.begin:
        expected = f"a begin of {due}, where the line before ends, and a later end"
        raise ValueError(f"{where}: the times are {phone.begin} and {phone.end}; expected {expected}")


def _ticks(value: str, where: str) -> int:
    if not value.isdecimal():
        raise ValueError(f"{where}: the time is {value!r}; expected a whole number of 100 ns")
    return int(value)


def _merged(lines: Iterable[_Line]) -> Iterator[Phone]:
    """States of one phone are one phone. A state that does not follow the one before it begins the next phone."""
    held: Phone | None = None
    last: int | None = None
    for phone, state in lines:
        same = held is not None and state is not None and last is not None and state > last
        if same and held is not None and held.context == phone.context:
            held = replace(held, end=phone.end)
        else:
            if held is not None:
                yield held
            held = phone
        last = state
    if held is not None:
        yield held
