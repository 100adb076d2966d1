"""Numbers out of text files, fast and without guessing.

`NumberTable` reads delimited text (plain or gzip) in pieces of some megabytes. A piece in which every line
has the same number of non-empty cells is parsed in one go by numpy; any other is gone through line by line,
which either finds the reason (a blank line, text in a column nobody asked for) or names the line that is
wrong.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from .errors import RecordingError
from .mapping import FileFormat

PIECE_BYTES = 8 << 20
_NEWLINE = 10


class Piece(NamedTuple):
    """Consecutive data lines: values (n, k) of the wanted columns, and the line number (from 1) of each."""

    values: NDArray[np.float64]
    lines: NDArray[np.int64]


class NumberTable:
    """Wanted columns of one text file.

    `columns` are header names, or numbers from 1. Raises RecordingError: unreadable file, missing column.
    """

    def __init__(self, path: Path, layout: FileFormat, columns: Sequence[str | int]) -> None:
        self.path, self._layout = path, layout
        self._pieces = _pieces(path, layout.encoding)
        self._rest, self._line = b"", 0
        self._blank_lines: list[int] = []  # met, and not yet known whether data follows them
        for _ in range(layout.skip_lines):
            self._take_line()
        self.header = self._cells(self._take_line()) if layout.header else []
        for _ in range(layout.skip_after_header):
            self._take_line()
        self._columns = [self._find(column) for column in columns]
        self._names = [str(column) for column in columns]

    def pieces(self) -> Iterator[Piece]:
        """Data in order. Raises RecordingError naming file and line: no number, missing value, wrong number
        of cells."""
        found = False
        while text := self._take_lines():
            piece = self._parse(text)
            if len(piece.values):
                found = True
                yield piece
        if not found:
            raise RecordingError(f"{self.path}: holds no data lines")

    # Lines

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._rest += piece
        return True

    def _take_line(self) -> bytes:
        while b"\n" not in self._rest:
            if not self._more():
                raise RecordingError(
                    f"{self.path}: ends in line {self._line + 1}, before any data; check skip_lines"
                )
        line, _, self._rest = self._rest.partition(b"\n")
        self._line += 1
        return line

    def _take_lines(self) -> bytes:
        """A piece of whole lines, the last one ended by a newline; empty at the end of the file."""
        while True:
            more = self._more()
            cut = self._rest.rfind(b"\n") + 1 if more else len(self._rest)
            text, self._rest = self._rest[:cut], self._rest[cut:]
            if text or not more:
                return text if not text.strip() or text.endswith(b"\n") else text + b"\n"

    def _cells(self, line: bytes) -> list[str]:
        try:
            text = line.decode("utf-8" if _recoded(self._layout.encoding) else self._layout.encoding)
        except UnicodeDecodeError:
            raise RecordingError(
                f"{self.path}, line {self._line}: is not {self._layout.encoding} text; set file.encoding"
            ) from None
        return [
            cell.strip()
            for cell in next(csv.reader([text.rstrip("\r")], delimiter=self._layout.delimiter), [])
        ]

    def _find(self, column: str | int) -> int:
        if isinstance(column, int):
            if column < 1 or (self.header and column > len(self.header)):
                raise RecordingError(
                    f"{self.path}: has no column {column}; numbers go from 1 to {len(self.header) or '…'}"
                )
            return column - 1
        where = [at for at, name in enumerate(self.header) if name == column]
        if len(where) != 1:
            what = "has two columns" if where else "has no column"
            raise RecordingError(
                f"{self.path}: {what} {column!r}; columns are {', '.join(map(repr, self.header))}"
            )
        return where[0]

    # Numbers

    def _parse(self, text: bytes) -> Piece:
        text = text.translate(None, b'\r"')
        first_line = self._line + 1
        self._line += text.count(b"\n")
        values = self._parse_at_once(text)
        if values is not None:
            lines = np.arange(first_line, first_line + len(values))
        else:
            values, lines = self._parse_lines(text, first_line)
        wrong = ~np.isfinite(values)
        if self._layout.on_missing == "flag":
            wrong &= ~np.isnan(values)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise self._wrong_cell(int(lines[row]), int(column), str(values[row, column]))
        return Piece(values, lines)

    def _parse_at_once(self, text: bytes) -> NDArray[np.float64] | None:
        """Values when every line has the same number of non-empty cells, all numeric; else None."""
        delimiter = self._layout.delimiter.encode()
        raw = np.frombuffer(text, dtype=np.uint8)
        ends = np.flatnonzero((raw == delimiter[0]) | (raw == _NEWLINE))
        n = text.count(b"\n")
        k = len(self.header) or text.partition(b"\n")[0].count(delimiter) + 1
        regular = (
            n > 0
            and not self._blank_lines
            and len(delimiter) == 1
            and len(ends) == n * k
            and bool((raw[ends[k - 1 :: k]] == _NEWLINE).all())
            and ends[0] > 0
            and not (np.diff(ends) == 1).any()
        )
        if self._layout.decimal == "," and b"." in text:
            return None  # "2.500" could be a grouped 2500
        if not regular or max(self._columns) >= k:
            return None
        plain = text.translate(bytes.maketrans(delimiter + self._layout.decimal.encode(), b" ."))
        try:
            numbers = np.fromstring(plain, dtype=np.float64, sep=" ", count=n * k)
        except (ValueError, DeprecationWarning):
            return None
        if len(numbers) != n * k:
            return None
        table = numbers.reshape(n, k)
        return table if self._columns == list(range(k)) else table[:, self._columns]

    def _parse_lines(self, text: bytes, first_line: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The slow way. Raises RecordingError at the first line that is wrong."""
        stream = io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", errors="replace", newline="")
        rows: list[list[float]] = []
        lines: list[int] = []
        for number, cells in enumerate(
            csv.reader(stream, delimiter=self._layout.delimiter, quoting=csv.QUOTE_NONE), first_line
        ):
            if not any(cell.strip() for cell in cells):
                if len(cells) > 1:
                    raise self._wrong_cell(number, 0, "")
                self._blank_lines.append(number)
                continue
            if self._blank_lines and len(cells) == 1:  # in a single column a blank line is a missing value
                rows += [[self._number(blank, 0, "")] for blank in self._blank_lines]
                lines += self._blank_lines
            self._blank_lines = []
            if len(cells) <= max(self._columns) or (self.header and len(cells) != len(self.header)):
                raise RecordingError(
                    f"{self.path}, line {number}: has {len(cells)} cells, "
                    f"expected {len(self.header) or max(self._columns) + 1}; repair the line, or "
                    "check delimiter and decimal in the mapping"
                )
            rows.append([self._number(number, at, cells[column]) for at, column in enumerate(self._columns)])
            lines.append(number)
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self._columns)), np.array(
            lines, dtype=np.int64
        )

    def _number(self, line: int, column: int, cell: str) -> float:
        cell = cell.strip()
        if not cell or cell.lower() in ("nan", "na", "n/a", "null", "none", "-"):
            if self._layout.on_missing == "flag":
                return float("nan")
            raise self._wrong_cell(line, column, cell)
        try:
            if "_" in cell or (self._layout.decimal == "," and "." in cell):
                raise ValueError
            return float(cell.replace(self._layout.decimal, "."))
        except ValueError:
            raise self._wrong_cell(line, column, cell) from None

    def _wrong_cell(self, line: int, column: int, cell: str) -> RecordingError:
        shown = f"value {cell[:40]!r} is no finite number" if cell else "the value is missing"
        missing = not cell or cell.lower() in ("nan", "na", "n/a", "null", "none", "-")
        hint = (
            'set on_missing = "flag" to keep it as a BAD sample'
            if missing
            else "check delimiter and decimal in the mapping"
        )
        return RecordingError(
            f"{self.path}, line {line}, column {self._names[column]!r}: {shown}; repair the file, or {hint}"
        )


def _recoded(encoding: str) -> bool:
    """Is this an encoding in which digits are not single ASCII bytes?"""
    return "0,\n".encode(encoding) != b"0,\n"


def _pieces(path: Path, encoding: str) -> Iterator[bytes]:
    """The file in pieces, unzipped, without byte-order mark, as bytes in which digits are ASCII."""
    try:
        with cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb") as file:
            decoder = codecs.getincrementaldecoder(encoding)() if _recoded(encoding) else None
            first = True
            while piece := file.read(PIECE_BYTES):
                if decoder is not None:
                    piece = decoder.decode(piece).encode()
                if first:
                    piece, first = piece.removeprefix(codecs.BOM_UTF8), False
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"{path}: cannot be read ({what}); give an existing, complete file") from None
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: is not {encoding} text; set file.encoding in the mapping") from None
