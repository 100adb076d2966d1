"""Reading the files attached to a PDF that somebody handed in: bounded in size, with clear errors.

Only what our own reports use is understood: an embedded-files name tree, streams stored plain or deflated.
Anything else in a file that claims to be our report is refused rather than interpreted.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Any

import pikepdf

from .errors import DocumentError

MOST_PDF_BYTES = 64 << 20
MOST_ATTACHMENT_BYTES = 64 << 20
_MOST_NODES = 64
_MOST_ATTACHMENTS = 16


def read_attachments(pdf: bytes) -> dict[str, bytes]:
    """Attached files by name. Raises DocumentError for what is no PDF, has no attachments, or is too
    large."""
    if len(pdf) > MOST_PDF_BYTES:
        raise DocumentError(f"the PDF has {len(pdf)} bytes; at most {MOST_PDF_BYTES} are read")
    if not pdf.startswith(b"%PDF-"):
        raise DocumentError("not a PDF: it does not begin with %PDF-")
    try:
        with pikepdf.open(io.BytesIO(pdf), suppress_warnings=True, attempt_recovery=False) as document:
            return _read(document)
    except (pikepdf.PdfError, pikepdf.PasswordError) as error:
        raise DocumentError(f"cannot be read as a PDF ({_short(error)})") from None
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        RecursionError,
        NotImplementedError,
    ) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(f"its attachments cannot be read ({_short(error)})") from None


def _read(document: pikepdf.Pdf) -> dict[str, bytes]:
    names = document.Root.get("/Names")
    tree = None if names is None else names.get("/EmbeddedFiles")
    if tree is None:
        raise DocumentError("no files are attached; a report of this software carries its data")
    found: dict[str, bytes] = {}
    for specification in _specifications(tree):
        name = str(specification.get("/UF") or specification["/F"])
        if name in found:
            raise DocumentError(f"two attachments are called {name!r}")
        found[name] = _content(name, specification["/EF"]["/F"])
        if len(found) > _MOST_ATTACHMENTS:
            raise DocumentError(f"more than {_MOST_ATTACHMENTS} attachments")
    return found


def _specifications(tree: Any) -> Iterator[Any]:
    """File specifications of a name tree; a tree that is too large or runs in circles is refused."""
    waiting, seen = [tree], 0
    while waiting:
        node, seen = waiting.pop(), seen + 1
        if seen > _MOST_NODES:
            raise DocumentError("the tree of attachments is larger than any report's")
        yield from list(node.get("/Names", []))[1::2]
        waiting += list(node.get("/Kids", []))


def _content(name: str, stream: Any) -> bytes:
    raw = stream.read_raw_bytes()
    filters = stream.get("/Filter")
    if isinstance(filters, pikepdf.Array):
        filters = filters[0] if len(filters) == 1 else ("none" if len(filters) == 0 else "several")
    if filters is None or filters == "none":
        content = bytes(raw)
    elif filters == pikepdf.Name.FlateDecode and stream.get("/DecodeParms") is None:
        content = _inflate(name, raw)
    else:
        raise DocumentError(
            f"attachment {name}: stored with filter {filters}, which this software never writes"
        )
    if len(content) > MOST_ATTACHMENT_BYTES:
        raise DocumentError(f"attachment {name}: larger than {MOST_ATTACHMENT_BYTES} bytes")
    return content


def _inflate(name: str, raw: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(raw, MOST_ATTACHMENT_BYTES + 1)
    except zlib.error as error:
        raise DocumentError(f"attachment {name}: its compressed data are damaged ({error})") from None
    if len(content) > MOST_ATTACHMENT_BYTES:
        raise DocumentError(f"attachment {name}: unpacks to more than {MOST_ATTACHMENT_BYTES} bytes")
    if not inflater.eof:
        raise DocumentError(f"attachment {name}: its compressed data are cut off")
    return content


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
