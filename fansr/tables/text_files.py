"""Bytes of a file, unpacked, and the text in them: what is packed and how it is encoded is told by content, not by name."""

from __future__ import annotations

import gzip
import io
import sys
import zlib

from fansr.errors import DataError

MOST_BYTES = 1 << 31  # that a packed table may unpack to
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# Bytes below 0x20 other than tab, newline, return, form feed and escape do not occur in a text table.
CONTROL_BYTES = bytes(b for b in range(32) if b not in (9, 10, 12, 13, 27))


def read_bytes(path: str) -> bytes:
    """Content of a file ("-" is stdin), unpacked if it is gzip or zstd; DataError says what is wrong."""
    if str(path) == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except IsADirectoryError:
            raise DataError(f"{path}: is a directory, wanted a table such as data.csv") from None
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
    return unpack(data, path)


def unpack(data: bytes, source: str) -> bytes:
    """gzip or zstd content unpacked, anything else as it is."""
    if data.startswith(GZIP_MAGIC):
        parts, size, packed = [], 0, io.BytesIO(data)
        try:
            with gzip.GzipFile(fileobj=packed) as file:
                while part := file.read(1 << 22):
                    parts.append(part)
                    size = _bounded(size + len(part), source)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{source}: damaged or truncated gzip file ({error}); fetch it again") from None
        return b"".join(parts)
    if data.startswith(ZSTD_MAGIC):
        import zstandard

        parts, size, rest = [], 0, data
        while rest:  # one turn a frame: only a decompressobj tells that a frame was cut
            frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                for first in range(0, len(rest), 1 << 10):  # in pieces: a kilobyte may unpack to megabytes
                    parts.append(frame.decompress(rest[first : first + (1 << 10)]))
                    size = _bounded(size + len(parts[-1]), source)
                    if frame.eof:
                        rest = frame.unused_data + rest[first + (1 << 10) :]
                        break
            except zstandard.ZstdError as error:
                raise DataError(f"{source}: damaged zstd file ({error}); fetch it again") from None
            if not frame.eof:
                raise DataError(f"{source}: truncated zstd file; fetch it again")
        return b"".join(parts)
    return data


def _bounded(size: int, source: str) -> int:
    if size > MOST_BYTES:
        raise DataError(
            f"{source}: unpacks to more than {MOST_BYTES >> 20} MiB, wanted a table; unpack it and leave rows out"
        )
    return size


def decode(data: bytes, source: str) -> tuple[str, list[str]]:
    """Text of a table: UTF-8, UTF-16 with its mark, or Latin-1 with a warning."""
    if not data.strip():
        raise DataError(f"{source}: the file is empty, wanted a row of column names and rows of numbers")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16"), []
        except UnicodeDecodeError:
            raise DataError(f"{source}: not a text table (neither UTF-8 nor UTF-16)") from None
    # A few control bytes near the start are enough to tell pictures, archives and spreadsheets from text.
    if data[:65536].translate(None, CONTROL_BYTES) != data[:65536]:
        what = "a spreadsheet or archive; save the sheet as CSV" if data.startswith(b"PK") else "binary data"
        raise DataError(f"{source}: not a text table but {what}")
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if b"\x00" in data:
            raise DataError(f"{source}: line {line}: not a text table") from None
        try:
            text = data.decode("cp1252")  # Latin-1 as Windows writes it, with a sign for the euro
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        return text, [f"line {line} is not UTF-8, so the file was read as Latin-1"]
