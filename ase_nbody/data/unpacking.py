"""Compressed files and archives: what they hold, in a temporary folder."""

from __future__ import annotations

import bz2
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_BLOCK = 1 << 20
# First bytes of a file, its decompressor, and its endings.
_COMPRESSED: dict[bytes, tuple[Callable[[], Any], tuple[str, ...]]] = {
    b"\x1f\x8b": (lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), (".gz",)),
    b"BZh": (bz2.BZ2Decompressor, (".bz2",)),
    b"\xfd7zXZ\x00": (lzma.LZMADecompressor, (".xz",)),
}
_ZIP = b"PK\x03\x04"
_REFUSED = {
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it with unzstd",
    b"\x1f\x9d": "compressed with compress; unpack it with uncompress",
    b"7z\xbc\xaf\x27\x1c": "an archive of 7-Zip; unpack it with 7z x",
    b"Rar!": "an archive of RAR; unpack it with unrar x",
}
_TAR, _TAR_AT = b"ustar", 257
# What a Macintosh adds to archives.
_ADDED = ("__MACOSX/", ".DS_Store")


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file itself, or what it holds when it is compressed (gzip, bzip2, xz) or a zip archive of one file.

    The first bytes decide, not the name.

    Raises:
        ValueError: the file is cut short or damaged, holds several files, or is packed in another way.
    """
    with path.open("rb") as file:
        head = file.read(_TAR_AT + len(_TAR))
    for magic, words in _REFUSED.items():
        if head.startswith(magic):
            raise ValueError(f"it is {words} and give the file with the structures")
    if head[_TAR_AT:] == _TAR:
        raise ValueError("it is a tar archive; unpack it with tar -xf and give the file with the structures")
    packed = head.startswith(_ZIP) or any(head.startswith(magic) for magic in _COMPRESSED)
    if not packed:
        yield path
        return
    with TemporaryDirectory() as folder:
        inner = _unzipped(path, Path(folder)) if head.startswith(_ZIP) else _decompressed(path, head, Path(folder))
        if inner.stat().st_size == 0:
            raise ValueError("the file in it is empty; structures are expected")
        with unpacked(inner) as innermost:
            yield innermost


def _decompressed(path: Path, head: bytes, folder: Path) -> Path:
    decompressor, endings = next(entry for magic, entry in _COMPRESSED.items() if head.startswith(magic))
    target = folder / (path.stem if path.suffix.lower() in endings else path.name)
    stream = decompressor()
    try:
        with path.open("rb") as source, target.open("wb") as output:
            while block := source.read(_BLOCK):
                while block:
                    if stream.eof:  # files that are joined are read one after the other
                        stream = decompressor()
                    output.write(stream.decompress(block))
                    block = stream.unused_data if stream.eof else b""
    except (OSError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"the compressed file is damaged ({error})") from None
    if not stream.eof:
        raise ValueError("the compressed file is cut short")
    return target


def _unzipped(path: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [i.filename for i in archive.infolist() if not i.is_dir() and not _is_added(i.filename)]
            if len(names) != 1:
                shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                raise ValueError(
                    f"it is an archive of {len(names)} files ({shown}); unpack it and give a file with structures"
                )
            target = folder / Path(names[0]).name
            with archive.open(names[0]) as source, target.open("wb") as output:
                shutil.copyfileobj(source, output)
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"the archive cannot be unpacked ({error}); unpack it yourself") from None
    return target


def _is_added(name: str) -> bool:
    return name.startswith(_ADDED[0]) or name.endswith(_ADDED[1])
