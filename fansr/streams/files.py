"""The bytes of a file: opened with errors of ours, told apart by how they begin, unpacked in pieces of bounded size.

zstd, gzip and plain files are recognised by content.  A few kilobytes of zstd or gzip may unpack to any number of
bytes, so nothing here unpacks more at once than PIECE; whoever gathers the pieces says how many bytes are too many.
This file knows nothing of what the bytes mean.
"""

from __future__ import annotations

import contextlib
import difflib
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import zstandard

from fansr.errors import DataError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
GZIP_MAGIC = b"\x1f\x8b"
SKIPPABLE = b"\x2a\x4d\x18"  # after a first byte 0x50 .. 0x5f: a zstd frame that holds no content
PIECE = 1 << 18  # plain bytes at once; zstd gives at most one block, 128 KiB
MAX_WINDOW = 1 << 27  # bytes a zstd frame may make its reader remember; what `zstd --long` uses
MAX_RECORD = 256 << 20  # default bound on the bytes of one record
_bound = [MAX_RECORD]


def bound_records(size: int) -> None:
    """Set how many bytes one record may be (and unpack to), for all that is opened in this process from now on."""
    _bound[0] = size


def record_bound() -> int:
    """How many bytes one record may be."""
    return _bound[0]


class Damaged(ValueError):
    """The packed bytes are cut or changed."""


def open_file(path: str | os.PathLike, wanted: str = "a file") -> Any:
    """A file opened for reading bytes ("-" is stdin); DataError says why it cannot be."""
    if path == "-":
        if sys.stdin is None:
            raise DataError(f"stdin: is closed, wanted {wanted}")
        if sys.stdin.isatty():
            raise DataError(f"stdin: is the keyboard, wanted {wanted}: name a file, or pipe one in")
        return sys.stdin.buffer
    try:
        return open(path, "rb")
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory, wanted {wanted}") from None
    except FileNotFoundError:
        if re.match(r"[a-z][a-z0-9+.-]*://", str(path), re.IGNORECASE):
            raise DataError(f"{path}: is an address, wanted {wanted}: fetch it first (curl -LO {path})") from None
        raise DataError(f"{path}: no such file{_near(str(path))}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _near(path: str) -> str:
    """What may have been meant by the name of a file that is not there: one of its folder, or that there is no such folder."""
    folder, name = os.path.split(path)
    try:
        stems = {os.path.splitext(other)[0]: other for other in os.listdir(folder or ".")}
    except (OSError, ValueError):
        return f" (and no folder {folder})" if folder else ""
    near = difflib.get_close_matches(os.path.splitext(name)[0], stems, 1, 0.7)
    return f"; did you mean {os.path.join(folder, stems[near[0]])}?" if near else ""


def read_file(path: str | os.PathLike, wanted: str = "a file", limit: int | None = None, packed: bool = True) -> bytes:
    """The plain bytes of a whole file ("-" is stdin); DataError where it cannot be read or holds over `limit` bytes.

    limit None: of a packed file half of record_bound(), for what is made of it stands beside it; of a plain one none, since
    its size is seen from outside.
    packed: zstd and gzip are unpacked; else the bytes are given as they are.
    """
    name = "stdin" if path == "-" else str(path)
    file = open_file(path, wanted)
    try:
        return plain_bytes(file, name, limit, packed)
    finally:
        if path != "-":
            file.close()


def write_text(path: str, text: str | Iterable[str]) -> None:
    """Write a whole text file ("-" is stdout), its text or its pieces, which appears whole or not at all; DataError where it cannot be written."""
    pieces = (text,) if isinstance(text, str) else text
    if path == "-":
        sys.stdout.writelines(pieces)
        return
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe, /dev/stdout: no rename there
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(pieces)
            return
        scratch = f"{path}.{os.getpid()}.part"
        try:
            with open(scratch, "w", encoding="utf-8") as file:
                file.writelines(pieces)
            os.replace(scratch, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(scratch)
            raise
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def plain_bytes(source: Any, name: str, limit: int | None = None, packed: bool = True) -> bytes:
    """All plain bytes of an open file, or of bytes that may be packed; as read_file."""
    source = _Source(getattr(source, "read1", source.read) if hasattr(source, "read") else io.BytesIO(source).read)
    parts, size, more = [], 0, "more than is read of such a file"
    try:
        if limit is None and packed and is_packed(source.peek(4)):
            limit, more = record_bound() // 2, "over the bound on what is unpacked (--max-record raises it)"
        for piece in plain_pieces(source) if packed else iter(lambda: source.read(PIECE), b""):
            parts.append(piece)
            size += len(piece)
            if limit is not None and size > limit:
                raise DataError(f"{name}: holds {size} bytes or more where at most {limit} were wanted: {more}")
    except Damaged as error:
        raise DataError(f"{name}: {error}; fetch or write it again") from None
    except IsADirectoryError:
        raise DataError(f"{name}: is a directory") from None
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from None
    return b"".join(parts)


def plain_head(data: bytes, n: int = 64) -> bytes:
    """Up to n plain bytes from the beginning of a file whose first bytes, whole or not, are given."""
    head = b""
    try:
        for piece in plain_pieces(io.BytesIO(data)):
            head += piece
            if len(head) >= n:
                break
    except Damaged:  # cut, since only the beginning is here; or damaged, which whoever reads it all will say
        pass
    return head[:n]


def plain_pieces(file: Any) -> Iterator[bytes]:
    """Plain bytes of a zstd, gzip or plain file, piece by piece; Damaged where they cannot be unpacked."""
    source = file if isinstance(file, _Source) else _Source(getattr(file, "read1", file.read))
    head = source.peek(4)
    try:
        if head[:2] != GZIP_MAGIC and is_packed(head):
            yield from filter(None, _zstd_pieces(source))
        elif head[:2] == GZIP_MAGIC:
            with gzip.GzipFile(fileobj=source) as reader:
                while piece := reader.read1(PIECE):
                    yield piece
        else:
            while piece := source.read(PIECE):
                yield piece
    except zstandard.ZstdError as error:
        raise Damaged(f"damaged zstd data: {error}") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Damaged(f"damaged gzip data: {error}") from None
    except EOFError:
        raise Damaged("the packed data are cut") from None


def is_packed(head: bytes) -> bool:
    """True for the first four bytes of a zstd or gzip file."""
    return head == ZSTD_MAGIC or head[:2] == GZIP_MAGIC or _skippable(head)


def _skippable(head: bytes) -> bool:
    return head[1:4] == SKIPPABLE and head[0] >> 4 == 5


def _zstd_pieces(source):
    """Plain bytes of zstd frames one after another (RFC 8878); frames to be skipped are skipped.

    A frame is handed to the library block by block, so that no call unpacks more than one block.
    """
    while magic := source.peek(4):
        source.exactly(4)
        if _skippable(magic):
            left = int.from_bytes(source.exactly(4), "little")
            while left:
                left -= len(source.exactly(min(left, PIECE)))
            continue
        if magic != ZSTD_MAGIC:
            raise Damaged(f"what follows a zstd frame is none: it begins {magic.hex()}")
        what = source.exactly(1)
        flags = what[0]
        whole = flags >> 5 & 1  # one segment: no window, and its size is given
        room = 1 - whole + (0, 1, 2, 4)[flags & 3] + (whole, 2, 4, 8)[flags >> 6]
        frame = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
        yield frame.decompress(magic + what + source.exactly(room))
        last = 0
        while not last:
            head = source.exactly(3)
            word = int.from_bytes(head, "little")  # size << 3 | kind << 1 | last
            last = word & 1
            # A block of kind 1 is one byte repeated.
            yield frame.decompress(head + source.exactly(1 if word >> 1 & 3 == 1 else word >> 3))
        if flags >> 2 & 1:
            yield frame.decompress(source.exactly(4))  # its checksum
        if not frame.eof:
            raise Damaged("a zstd frame does not end where it says")


class _Source:
    """A file whose next bytes can be looked at; `read` is its read1, so that a pipe hands on what has come."""

    def __init__(self, read):
        self._read, self._ahead, self._at = read, b"", 0

    def peek(self, n: int) -> bytes:
        """The next n bytes, or what is left."""
        while len(self._ahead) - self._at < n and (piece := self._read(1 << 16)):
            self._ahead, self._at = self._ahead[self._at :] + piece, 0
        return self._ahead[self._at : self._at + n]

    def exactly(self, n: int) -> bytes:
        """The next n bytes; EOFError where there are fewer."""
        parts = []
        while n:
            piece = self.read(n)
            if not piece:
                raise EOFError
            parts.append(piece)
            n -= len(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read(self, size: int = PIECE) -> bytes:
        """Up to `size` of the next bytes, none at the end."""
        if self._at == len(self._ahead):
            self._ahead, self._at = self._read(max(size, 1 << 16)), 0
        piece = self._ahead[self._at : self._at + size]
        self._at += len(piece)
        return piece
