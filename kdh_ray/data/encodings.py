"""Encodings of text files, recognised only where they are certain, and lines of decoded text."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kdh_ray.data.text_files import shown_name
from kdh_ray.errors import DataError

UTF8 = "utf-8"
WESTERN = "cp1252"  # of Windows and its Excel in Western Europe and America
LONGEST_LINE = 2**24  # characters: three million words
CHUNK_BYTES = 2**20

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: UTF8,
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_BINARY = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"PAR1": "Parquet",
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
    b"\xd0\xcf\x11\xe0": "a file of an old Office program",
    b"%PDF": "PDF",
    b"\x89PNG": "an image",
    b"SQLite format 3\0": "a database",
}


@dataclass(frozen=True)
class Encoding:
    """The encoding of a file.

    Attributes:
        name: Python's name of the codec.
        mark: Bytes of the byte order mark at the file's start.
        fault: The place of the first byte that is not in this encoding; empty if all are. Reading goes on as UTF-8 in
            which such bytes become lone surrogates.
    """

    name: str = UTF8
    mark: int = 0
    fault: str = ""

    @property
    def has_exact_positions(self) -> bool:
        """True if encoding a decoded line gives its bytes again, so that positions can be counted."""
        return self.name in (*_MARKS.values(), WESTERN)

    @property
    def errors(self) -> str:
        """The error handler with which every byte survives decoding and encoding."""
        return "surrogateescape" if self.fault else "strict"


def recognise_encoding(file: str, stream: BinaryIO) -> Encoding:
    """Return the encoding of a stream, which is read to its end if need be.

    A byte order mark is certain, and so is UTF-8 where every byte is valid in it. Windows-1252 is certain if every
    byte beyond ASCII stands where its text has a letter or a sign of Western languages, and would be the same in the
    code pages of Central Europe and Turkey. French or Spanish has letters that are others there.

    Raises:
        DataError: If the file is binary.
    """
    start = stream.read(CHUNK_BYTES)
    for magic, kind in _BINARY.items():
        if start.startswith(magic):
            raise DataError(f"{shown_name(file)}: is {kind}, not text; its name must end accordingly")
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            return Encoding(name, len(mark))
    if b"\0" in start[:2]:
        raise DataError(
            f"{shown_name(file)}: begins with a NUL byte, which text does not have; UTF-16 without a byte order mark"
            " needs the encoding utf-16-le or utf-16-be"
        )
    return _utf8_or_western(start, stream)


def named_encoding(name: str, stream: BinaryIO) -> Encoding:
    """Return the encoding that a user names, after the byte order mark that a stream has."""
    start = stream.read(4)
    codec = codecs.lookup(name).name
    for mark, marked in _MARKS.items():
        if start.startswith(mark) and (codec == marked or codec in ("utf-16", "utf-32", "utf-8-sig")):
            return Encoding(marked, len(mark))
    return Encoding({"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": UTF8}.get(codec, codec))


def _utf8_or_western(start: bytes, stream: BinaryIO) -> Encoding:
    decoder = codecs.getincrementaldecoder(UTF8)()
    is_western = _WesternText()
    read = lines = 0
    fault = ""
    chunk = start
    while True:
        if not fault:
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line = lines + (pending + chunk).count(b"\n", 0, error.start) + 1
                fault = f"byte {read - len(pending) + error.start}, in line {line}, is not"
        if not is_western.feed(chunk) and fault:
            return Encoding(UTF8, 0, fault)
        if not chunk:
            break
        read, lines = read + len(chunk), lines + chunk.count(b"\n")
        chunk = stream.read(CHUNK_BYTES)
    if not fault:
        return Encoding()
    return Encoding(WESTERN) if is_western.is_certain else Encoding(UTF8, 0, fault)


def _shared_bytes() -> bytes:
    """Return the bytes beyond ASCII that Windows's code pages 1252, 1250 and 1254 read in the same way."""
    pages = (WESTERN, "cp1250", "cp1254")
    every = [bytes([byte]) for byte in range(0x80, 0x100)]
    return b"".join(byte for byte in every if len({byte.decode(page, "replace") for page in pages}) == 1)


_PLAIN = bytes(range(0x20, 0x7F)) + b"\t\n\r\f"
_SHARED = bytes(byte for byte in _shared_bytes() if bytes([byte]).decode(WESTERN, "replace") not in "\ufffdŠš")
_LETTERS = bytes(byte for byte in _SHARED if bytes([byte]).decode(WESTERN).isalpha() and byte >= 0xC0)
_SIGNS = bytes(byte for byte in _SHARED if byte not in _LETTERS)


def _case(letter: str) -> tuple[bool, bool]:
    return letter.islower(), letter.isupper()


# Letters that DOS's code page 850 doesn't read as letters of the same case: its "Fuß" is Windows's "Fuá".
_TELLING = bytes(
    byte for byte in _LETTERS if _case(bytes([byte]).decode("cp850")) != _case(bytes([byte]).decode(WESTERN))
)
_BEFORE_A_WORD = "‘’“„‚«»‹›–—•·°µ§©\xa0".encode(WESTERN)
_AFTER_A_WORD = "‘’“”…»›™®\xa0".encode(WESTERN)
_LETTER = rb"A-Za-z" + re.escape(_LETTERS)
_WORD = re.compile(rb"[" + _LETTER + rb"]*[" + re.escape(_LETTERS) + rb"][" + _LETTER + rb"]*")
_FOREIGN = re.compile(  # three letters beyond ASCII in a row; a sign within a word, or where none begins or ends one
    rb"[" + re.escape(_LETTERS) + rb"]{3}"
    rb"|[" + _LETTER + rb"][" + re.escape(_SIGNS.translate(None, _AFTER_A_WORD)) + rb"]"
    rb"|[" + re.escape(_SIGNS.translate(None, _BEFORE_A_WORD)) + rb"][" + _LETTER + rb"]"
    rb"|[" + _LETTER + rb"](?!\x92(?:s|t|d|m|re|ve|ll)\b|\xa0)[" + re.escape(_SIGNS) + rb"][" + _LETTER + rb"]"
)
_EVIDENCE = re.compile(  # letters, quotation marks at a word, degrees after a number
    rb"[" + re.escape(_TELLING) + rb"]|[A-Za-z][\x92\x94]|[\x91\x93\x84][A-Za-z]|[0-9] ?\xb0"
)
LEAST_EVIDENCE = 2  # bytes beyond ASCII: a single one may be what is left of a damaged character


class _WesternText:
    """Decides whether bytes can only be Windows-1252."""

    def __init__(self) -> None:
        self._rest = b""  # an unfinished line
        self._evidence = 0
        self._is_possible = True

    @property
    def is_certain(self) -> bool:
        return self._is_possible and self._evidence >= LEAST_EVIDENCE

    def feed(self, chunk: bytes) -> bool:
        """Judge the lines that end in ``chunk``, or the last one if it is empty; return whether it is possible."""
        if not self._is_possible:
            return False
        whole, newline, rest = (self._rest + chunk).rpartition(b"\n") if chunk else (self._rest, b"", b"")
        self._rest = rest[-LONGEST_LINE:]
        if not (whole + newline).isascii():
            self._judge(whole)
        return self._is_possible

    def _judge(self, text: bytes) -> None:
        beyond = text.translate(None, _PLAIN)
        self._evidence += len(_EVIDENCE.findall(text))
        self._is_possible = (
            not beyond.translate(None, _SHARED)
            and not _FOREIGN.search(text)
            and all(word.translate(None, _LETTERS) for word in _WORD.findall(text))
        )


class TextLines(Iterator[str]):
    """The lines of a stream with their line ends, and the position in bytes of the end of the last one.

    Lines end in LF, CR, or both. A line of more than :data:`LONGEST_LINE` characters is an error: nobody writes one.
    """

    def __init__(self, file: str, stream: BinaryIO, encoding: Encoding, position: int = 0, number: int = 0) -> None:
        self._file, self._encoding = file, encoding
        self._text = io.TextIOWrapper(stream, encoding.name, encoding.errors, newline="")
        self.position, self.number = position, number

    def __next__(self) -> str:
        try:
            line = self._text.readline(LONGEST_LINE)
        except UnicodeDecodeError:
            raise DataError(
                f"{shown_name(self._file)}: must be {self._encoding.name}; a byte after line {self.number} is not"
            ) from None
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) >= LONGEST_LINE:
            raise DataError(
                f"{shown_name(self._file)}: line {self.number} is longer than {LONGEST_LINE} characters; is it a table?"
            )
        self.position += len(line.encode(self._encoding.name, self._encoding.errors))
        return line


def lines_of(file: str, stream: BinaryIO, encoding: Encoding) -> TextLines:
    """Return the lines of a stream from its start, after its byte order mark."""
    stream.read(encoding.mark)
    return TextLines(file, stream, encoding, encoding.mark)


def has_escaped_bytes(text: str) -> bool:
    """Return True if a text holds bytes that could not be decoded."""
    return not text.isascii() and _ESCAPED.search(text) is not None


_ESCAPED = re.compile("[\udc80-\udcff]")
