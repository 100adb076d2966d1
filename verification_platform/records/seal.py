"""The seal: a hash chain over the segments of a recording, so that a report can prove which data it was made
of.

``seal.json`` has one entry a segment, written the moment the segment is complete. Each entry's `link` is the
SHA-256 of the entry including the previous link; `digest` closes the whole document. The digest is what a
report prints and signs: it changes with every byte of every segment, with their order, number and names. The
seal alone does not prove who wrote it (anyone can write another one): the signature over the digest does.

The file is compared with its own canonical text, so that no byte of it can change unnoticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import RecordingError
from .mcapfile import scan

SEAL_FILE = "seal.json"
SAMPLES_FOLDER = "samples"
GENESIS = "0" * 64
_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class SealEntry:
    """One sealed segment. `session` and `note` say when and how it came (a note names what a crash cost)."""

    index: int
    file: str
    bytes: int
    sha256: str
    session: int
    note: str
    previous: str

    @property
    def link(self) -> str:
        return hashlib.sha256(_canonical(asdict(self))).hexdigest()


@dataclass(frozen=True, slots=True)
class Seal:
    """Content of ``seal.json``. While not `closed` the recording grows, or its writer was killed."""

    entries: tuple[SealEntry, ...] = ()
    closed: bool = False

    @property
    def last_link(self) -> str:
        return self.entries[-1].link if self.entries else GENESIS

    @property
    def digest(self) -> str:
        return hashlib.sha256(
            _canonical({"closed": self.closed, "last": self.last_link, "segments": len(self.entries)})
        ).hexdigest()

    def with_entry(self, file: str, size: int, sha256: str, session: int, note: str = "") -> Seal:
        """A longer, open chain."""
        entry = SealEntry(len(self.entries), file, size, sha256, session, note, self.last_link)
        return Seal((*self.entries, entry), closed=False)

    def text(self) -> str:
        """The only accepted spelling of this seal."""
        document = {
            "format": "pilotbench-seal-1",
            "algorithm": "sha256",
            "entries": [{**asdict(entry), "link": entry.link} for entry in self.entries],
            "closed": self.closed,
            "digest": self.digest,
        }
        return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class SealReport:
    """Outcome of a verification: when not `ok`, `place` is where (file, chunk) and `what` what is wrong."""

    ok: bool
    place: str = ""
    what: str = ""
    digest: str = ""

    @property
    def line(self) -> str:
        """One clear line."""
        return f"seal {self.digest} holds" if self.ok else f"{self.place}: {self.what}"


class _BrokenError(Exception):
    """Both texts may quote what was altered, line breaks and all; they stay on one line."""

    def __init__(self, place: str, what: str) -> None:
        self.place, self.what = _on_one_line(place), _on_one_line(what)
        super().__init__(f"{self.place}: {self.what}")


def _on_one_line(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _canonical(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def samples_folder(folder: Path) -> Path:
    """The folder with the segments: `folder` itself, or ``samples`` in a run folder."""
    inside = folder / SAMPLES_FOLDER
    return inside if inside.is_dir() and not (folder / SEAL_FILE).exists() else folder


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_READ):
            digest.update(piece)
    return digest.hexdigest()


def read_seal(folder: Path) -> Seal | None:
    """The seal of a samples folder, None without one. Raises RecordingError when it was altered."""
    try:
        return _read(folder)
    except FileNotFoundError:
        return None
    except _BrokenError as broken:
        raise RecordingError(f"{folder / broken.place}: {broken.what}") from None


def _read(folder: Path) -> Seal:
    raw = (folder / SEAL_FILE).read_bytes()
    try:
        document = json.loads(raw.decode())
        entries = tuple(SealEntry(**{k: v for k, v in e.items() if k != "link"}) for e in document["entries"])
        seal = Seal(entries, closed=document["closed"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _BrokenError(SEAL_FILE, f"the seal itself was altered or damaged ({error})") from None
    for number, (entry, written) in enumerate(zip(entries, document["entries"], strict=True)):
        previous = entries[number - 1].link if number else GENESIS
        if entry.index != number or entry.previous != previous or written.get("link") != entry.link:
            raise _BrokenError(
                SEAL_FILE,
                f"entry {number} ({entry.file}) does not continue the hash chain: it was altered or moved",
            )
    if document.get("digest") != seal.digest:
        raise _BrokenError(
            SEAL_FILE, "the digest does not close the hash chain: an entry was added, removed or altered"
        )
    if seal.text().encode() != raw:
        raise _BrokenError(SEAL_FILE, "the seal itself was altered (its text is not what was written)")
    return seal


def seal_digest(folder: Path) -> str:
    """Digest of a sealed recording, for reports. Raises RecordingError when it has no closed seal.

    Says nothing about the segments: that is `verify_seal`.
    """
    folder = samples_folder(folder)
    seal = read_seal(folder)
    if seal is None or not seal.closed:
        raise RecordingError(
            f"{folder}: the recording is not sealed; close it, or resume the run that wrote it"
        )
    return seal.digest


def verify_seal(folder: Path) -> SealReport:
    """Check every byte of a recording against its seal and name the first place that is wrong.

    `folder` is a run folder or a samples folder.
    """
    folder = samples_folder(folder)
    try:
        seal = _read(folder)
        sealed = {entry.file for entry in seal.entries}
        present = {path.name for path in folder.glob("*.mcap")}
        for name in sorted(sealed - present):
            raise _BrokenError(name, "the segment is missing")
        for entry in seal.entries:
            _check_file(folder, entry, seal.entries)
        if not seal.closed:
            raise _BrokenError(
                SEAL_FILE, "the recording was never closed (its writer was killed, or is still writing)"
            )
        for name in sorted(present - sealed):
            raise _BrokenError(name, "the segment is not part of the sealed recording")
    except FileNotFoundError as error:
        return SealReport(False, SEAL_FILE, f"{error.filename} does not exist: the recording is not sealed")
    except OSError as error:
        return SealReport(False, str(error.filename), f"cannot be read ({error.strerror})")
    except _BrokenError as broken:
        return SealReport(False, broken.place, broken.what)
    return SealReport(True, digest=seal.digest)


def verify_file(path: Path, seal: Seal) -> SealReport:
    """Check one segment against the seal it belongs to."""
    for entry in seal.entries:
        if entry.file == path.name:
            try:
                _check_file(path.parent, entry, seal.entries)
            except _BrokenError as broken:
                return SealReport(False, broken.place, broken.what)
            return SealReport(True, digest=seal.digest)
    return SealReport(False, path.name, f"is not part of the recording that {SEAL_FILE} beside it seals")


def _check_file(folder: Path, entry: SealEntry, entries: Iterable[SealEntry]) -> None:
    path = folder / entry.file
    size, found = path.stat().st_size, hash_file(path)
    if size == entry.bytes and found == entry.sha256:
        return
    for other in entries:
        if other.sha256 == found:
            raise _BrokenError(entry.file, f"holds the content of {other.file}: the segments were reordered")
    if size != entry.bytes:
        raise _BrokenError(entry.file, f"has {size} bytes, {entry.bytes} were sealed")
    raise _BrokenError(
        f"{entry.file}, {_where(path)}",
        f"was altered: SHA-256 is {found[:16]}…, {entry.sha256[:16]}… was sealed",
    )


def _where(path: Path) -> str:
    """Where in an altered segment: the chunk whose checksum fails, or else what is left."""
    segment = scan(path)
    return segment.problem or "outside the samples (header, metadata or index)"
