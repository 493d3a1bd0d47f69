# SPDX-License-Identifier: Apache-2.0
"""Files in stores that fsspec knows, as s3://bucket/a.mp4: brought to this machine, and put there whole."""

import posixpath
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fv2v.extras import check_extra
from fv2v.io.limits import check_limit, shown

URL = re.compile(r"[a-z][a-z0-9+.-]*://")
LARGEST = 1 << 36  # bytes of a file
CHUNK = 1 << 22  # bytes read at once
# Stores that show an object when all of it is there, no sooner. In others a file gets its name at the end.
WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
CONTENT = ("ETag", "etag", "md5Hash", "Content-MD5")  # of what a store tells: another one, another content
TIMES = ("mtime", "LastModified", "last_modified", "Last-Modified", "modified", "updated", "created")


def is_url(text: str) -> bool:
    """Whether it is the address of a file in a store, and no path."""
    return URL.match(text) is not None


def state_of(url: str) -> str:
    """What is another one when the file has other content: its size, with its checksum or else its time.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, an empty file, a store that is not known, or one whose package is missing.
        OSError: the store's own.
    """
    with _asking(url):
        store, name = _store(url)
        known = store.info(name)
        if known.get("type") == "directory":
            raise ValueError("expected a file, got a folder")
        if known.get("size") == 0:
            raise ValueError("the file is empty (0 bytes)")
        told = next((str(known[each]) for each in (*CONTENT, *TIMES) if known.get(each)), "")
        return f"{known.get('size')} {told}"


def fetch(url: str, folder: Path) -> Path:
    """A copy of a file, under its own name in `folder`. Errors as `state_of`'s.

    Raises:
        ValueError: more than `LARGEST` bytes, or than the disk has place for.
    """
    with _asking(url):
        store, name = _store(url)
        path = folder / name_of(url)
        most, size = min(LARGEST, shutil.disk_usage(folder).free), store.info(name).get("size")
        check_limit("bytes", size or 0, most)
        with store.open(name, "rb") as there, path.open("wb") as here:
            done = 0
            while chunk := there.read(CHUNK):
                check_limit("bytes", done := done + len(chunk), most)
                here.write(chunk)
        return path


def put(path: Path, url: str) -> None:
    """Copy a file there, whole or not at all. Errors as `state_of`'s."""
    with _asking(url):
        store, name = _store(url)
        if _shows_whole(store):
            store.put_file(str(path), name)
            return
        folder, _, _ = name.rpartition("/")
        hidden = f"{folder}/.fv2v-{secrets.token_hex(4)}"
        store.makedirs(folder, exist_ok=True)
        try:
            store.put_file(str(path), hidden)
            store.mv(hidden, name)
        except BaseException:
            with suppress(Exception):
                store.rm_file(hidden)
            raise


def check_folder(url: str) -> str:
    """Check that files can be put into a folder of a store, by a mark, and return it without a last slash.

    Raises:
        ValueError, OSError: they cannot, or it is no URL.
    """
    if not is_url(url):
        raise ValueError(f"{shown(url)}: expected a folder of a store, as s3://bucket/clips")
    url = url.rstrip("/")
    with _asking(url):
        store, name = _store(url)
        if not _shows_whole(store):  # those have no folders, and s3fs would make a bucket
            store.makedirs(name, exist_ok=True)
        store.pipe_file(f"{name}/.fv2v", b"clips of fv2v\n")
    return url


def name_of(url: str) -> str:
    """The file's own name."""
    return posixpath.basename(url.partition("?")[0]) or "file"


def _store(url: str) -> tuple[Any, str]:
    """The store, and the name by which it knows the file."""
    if url.startswith(("s3://", "s3a://")):
        check_extra("s3://", ["s3fs"], "s3")
    import fsspec  # which torch needs, so it is there

    return fsspec.url_to_fs(url)


def _shows_whole(store: Any) -> bool:
    names = [store.protocol] if isinstance(store.protocol, str) else store.protocol
    return not WHOLE.isdisjoint(names)


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Errors that begin with the URL, of the kinds that `state_of` has: each store raises its own."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{url}: no such file, or no such folder") from None
    except (ValueError, ImportError) as error:  # ours; a protocol nobody knows; a package that is missing
        raise ValueError(f"{url}: {shown(error)}") from error
    except Exception as error:
        raise OSError(f"{url}: {shown(error) or type(error).__name__}") from error
