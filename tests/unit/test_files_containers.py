"""What wraps a partner's file comes off whole, or the file is refused by name of what is wrong."""

from __future__ import annotations

import gzip
import io
import random
import stat
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.files.containers import CHUNK, Container, Kind, content
from connectors.files.records import Limits, Refused

TEXT = b"".join(b"%d;%d\n" % (n, n * n) for n in range(60_000))  # more than one chunk


def read(data: bytes, kind: Kind, limits: Limits | None = None, **more: object) -> bytes:
    return b"".join(
        content(io.BytesIO(data), Container.model_validate({"kind": kind, **more}), limits or Limits())
    )


def code(data: bytes, kind: Kind, limits: Limits | None = None, **more: object) -> str:
    with pytest.raises(Refused) as seen:
        read(data, kind, limits, **more)
    return seen.value.code


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return out.getvalue()


def zst(body: bytes, *, checksum: bool = True, level: int = 3) -> bytes:
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(body)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


WRAP: dict[Kind, Callable[[bytes], bytes]] = {
    "none": lambda body: body,
    "gz": gzip.compress,
    "zip": lambda body: zipped(("a.csv", body)),
    "zst": zst,
}


@given(body=st.binary(max_size=3000))
@pytest.mark.parametrize("kind", WRAP)
def test_content_comes_out_as_it_went_in(kind: Kind, body: bytes) -> None:
    body = b"." + body  # content that begins like a container is another test
    assert read(WRAP[kind](body), kind) == body


@pytest.mark.parametrize("kind", WRAP)
def test_a_large_content_comes_in_chunks(kind: Kind) -> None:
    chunks = list(content(io.BytesIO(WRAP[kind](TEXT)), Container(kind=kind)))
    assert b"".join(chunks) == TEXT
    assert max(map(len, chunks)) <= CHUNK
    assert len(chunks) > 1


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
def test_a_file_that_was_cut_off_anywhere_is_refused(kind: Kind) -> None:
    data = WRAP[kind](TEXT[:2000])
    assert {code(data[:end], kind) for end in range(len(data))} == {"container.truncated"}


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
def test_no_single_wrong_byte_passes(kind: Kind) -> None:
    data = WRAP[kind](TEXT[:600])
    for at in range(len(data)):
        with suppress(Refused):
            assert read(patched(data, at, bytes([data[at] ^ 0x55])), kind) == TEXT[:600], at


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
@given(junk=st.binary(max_size=200), seed=st.integers(0, 2**32))
def test_junk_is_refused_and_nothing_else_happens(kind: Kind, junk: bytes, seed: int) -> None:
    data = bytearray(WRAP[kind](TEXT[:300]) + junk)
    for _ in range(3):
        data[random.Random(seed).randrange(len(data))] ^= 0x10  # noqa: S311 - not a secret
    with suppress(Refused):
        read(bytes(data), kind)


def test_members_of_gzip_and_frames_of_zstd_are_one_content() -> None:
    assert read(gzip.compress(b"a\n") + gzip.compress(b"") + gzip.compress(b"b\n"), "gz") == b"a\nb\n"
    skipped = struct.pack("<LL", 0x184D2A53, 5) + b"hello"
    assert read(skipped + zst(b"a\n") + skipped + zst(b"b\n", checksum=False), "zst") == b"a\nb\n"


def test_a_gzip_file_of_many_empty_members_is_read() -> None:
    assert read(gzip.compress(b"") * 50_000 + gzip.compress(b"a\n"), "gz") == b"a\n"


def test_zeros_behind_gzip_pass_where_they_are_declared() -> None:
    data = gzip.compress(b"a\n") + bytes(CHUNK + 5)
    assert code(data, "gz") == "container.trailing"
    assert read(data, "gz", padding=True) == b"a\n"
    assert code(data + b"x", "gz", padding=True) == "container.trailing"


def _broken() -> dict[str, tuple[bytes, Kind, str]]:
    gz, zipf, frame = gzip.compress(TEXT[:900]), zipped(("a.csv", TEXT[:900])), zst(TEXT[:900])
    directory = zipf.index(b"PK\x01\x02")
    link = zipfile.ZipInfo("a.csv")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    twins = zipped(("a.csv", b"1"), ("b.csv", b"2")).replace(b"b.csv", b"a.csv")
    # the second entry of the directory points at the first member
    two = zipped(("a.csv", TEXT[:900]), ("a.csw", TEXT[:900]))
    second = two.rindex(b"PK\x01\x02")
    overlap = patched(two, second + 42, struct.pack("<L", 0)).replace(b"a.csw", b"b.csv")
    overlap = patched(overlap, overlap.index(b"PK\x01\x02") + 42, struct.pack("<L", 0))
    trained = b"\x28\xb5\x2f\xfd" + bytes([frame[4] | 1]) + b"\x07" + frame[5:]
    return {
        "gzip: CRC": (patched(gz, len(gz) - 8, b"\0\0\0\0"), "gz", "container.checksum"),
        "gzip: length": (patched(gz, len(gz) - 4, b"\0\0\0\0"), "gz", "container.checksum"),
        "gzip: garbage behind": (gz + b"garbage", "gz", "container.trailing"),
        "gzip: broken": (patched(gz, 12, b"\xff\xff\xff\xff"), "gz", "container.corrupt"),
        "gzip: plain text": (b"id;name\n", "gz", "container.kind"),
        "gzip: is a zip": (zipf, "gz", "container.kind"),
        "gzip in gzip": (gzip.compress(gz), "gz", "container.nested"),
        "zip in zip": (zipped(("b.zip", zipf)), "zip", "container.nested"),
        "gzip, declared none": (gz, "none", "container.kind"),
        "zip: plain text": (b"id;name\n", "zip", "container.kind"),
        "zip: garbage behind": (zipf + b"garbage", "zip", "container.trailing"),
        "zip: another CRC": (
            zipf.replace(struct.pack("<L", zlib.crc32(TEXT[:900])), b"\1\2\3\4"),
            "zip",
            "container.checksum",
        ),
        "zip: another size": (
            zipf.replace(struct.pack("<L", 900), struct.pack("<L", 800)), "zip", "container.checksum",
        ),
        "zip: names differ": (patched(zipf, directory + 46, b"b"), "zip", "container.directory"),
        "zip: methods differ": (patched(zipf, directory + 10, b"\0"), "zip", "container.directory"),
        "zip: no entry": (patched(zipf, directory, b"XX"), "zip", "container.directory"),
        "zip: encrypted": (
            patched(patched(zipf, 6, b"\1"), directory + 8, b"\1"), "zip", "container.encrypted",
        ),
        "zip: lzma": (zipped(("a.csv", TEXT[:900]), method=zipfile.ZIP_LZMA), "zip", "container.method"),
        "zip: two members": (zipped(("a.csv", b"1"), ("b.csv", b"2")), "zip", "container.members"),
        "zip: no member": (zipped(), "zip", "container.members"),
        "zip: a folder alone": (zipped(("a/", b"")), "zip", "container.members"),
        "zip: one name twice": (twins, "zip", "container.members"),
        "zip: entries of another member": (overlap, "zip", "container.directory"),
        "zip: a link": (out.getvalue(), "zip", "container.name"),
        "zstd: checksum": (patched(frame, len(frame) - 4, b"\0\0\0\0"), "zst", "container.checksum"),
        "zstd: garbage behind": (frame + b"garbage", "zst", "container.trailing"),
        "zstd: plain text": (b"id;name\n", "zst", "container.kind"),
        "zstd: dictionary": (trained, "zst", "container.dictionary"),
        "zstd: block of a kind that is none": (
            b"\x28\xb5\x2f\xfd\x20\x05" + (6 | 5 << 3).to_bytes(3, "little") + b"abcde",
            "zst",
            "container.corrupt",
        ),
        "zstd: a window of a gigabyte": (
            b"\x28\xb5\x2f\xfd\x00" + bytes([20 << 3]) + b"\1\0\0", "zst", "container.window",
        ),
    }  # fmt: skip


BROKEN = _broken()


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_container_is_refused_by_what_is_wrong(what: str) -> None:
    data, kind, expected = BROKEN[what]
    assert code(data, kind) == expected


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../b",
        "C:\\x.csv",
        "..\\x.csv",
        "c:x.csv",
        "a\nb.csv",
        "n" * 2000,
    ],
)
def test_a_name_that_leads_out_of_the_archive_is_refused(name: str) -> None:
    assert code(zipped((name, b"1;2\n")), "zip") == "container.name"


def test_a_name_is_data() -> None:
    for name in ("CON", "ø/é.csv", "..a.csv", "-rf"):
        assert read(zipped((name, b"1;2\n")), "zip") == b"1;2\n"


def test_the_members_of_an_overlapping_archive_are_refused() -> None:
    # a member that is a part of another one: the inner archive's member, listed by the outer directory
    inner = zipped(("a.csv", b"1;2\n" * 9), method=zipfile.ZIP_STORED)
    local = inner[: inner.index(b"PK\x01\x02")]
    outer = zipped(("o.csv", local), method=zipfile.ZIP_STORED)
    begin = outer.index(b"PK\x01\x02")
    place = outer.index(local)
    entry = inner[inner.index(b"PK\x01\x02") : inner.index(b"PK\x05\x06")]
    entry = patched(entry, 42, struct.pack("<L", place))
    directory = outer[begin : outer.index(b"PK\x05\x06")] + entry
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), begin, 0)
    assert code(outer[:begin] + directory + end, "zip", member="a.csv") == "container.overlap"


def test_bytes_behind_the_compressed_data_of_a_member_are_refused() -> None:
    packed = zlib.compressobj(wbits=-15)
    body = packed.compress(TEXT[:500]) + packed.flush() + b"behind"
    data = zipped(("a.csv", body), method=zipfile.ZIP_STORED)
    directory = data.index(b"PK\x01\x02")
    for method, crc, size in ((8, 14, 22), (directory + 10, directory + 16, directory + 24)):
        data = patched(data, method, struct.pack("<H", 8))
        data = patched(data, crc, struct.pack("<L", zlib.crc32(TEXT[:500])))
        data = patched(data, size, struct.pack("<L", 500))
    assert code(data, "zip") == "container.trailing"


def test_a_pattern_names_the_member() -> None:
    data = zipped(("__MACOSX/._a.csv", b"x"), ("a.csv", b"1;2\n"), ("read.me", b"x"))
    assert read(data, "zip", member="*.csv") == b"1;2\n"
    assert code(data, "zip") == "container.members"
    assert code(data, "zip", member="*.txt") == "container.members"


def test_an_archive_that_was_written_as_a_stream_or_as_zip64_is_read() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    for big in (False, True):
        out = Pipe()
        with (
            zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open(zipfile.ZipInfo("a.csv"), "w", force_zip64=big) as one,
        ):
            one.write(TEXT)
        assert read(out.getvalue(), "zip") == TEXT


def test_an_archive_with_too_many_members_is_refused_before_they_are_listed() -> None:
    data = zipped(*((f"{n}.csv", b"") for n in range(50)))
    assert code(data, "zip", Limits(members=20)) == "container.members"
    lying = patched(data, len(data) - 14, struct.pack("<HH", 1, 1))
    assert code(lying, "zip", Limits(members=20)) == "container.directory"


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
def test_a_bomb_is_refused_within_little_memory(kind: Kind) -> None:
    data = WRAP[kind](b"0;" * (25 << 20))
    tracemalloc.start()
    try:
        assert code(data, kind) == "container.ratio"
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    # what comes out counts, not what the container says
    assert code(data, kind, Limits(ratio=1 << 40, content=1 << 21)) == "container.size"


@pytest.mark.parametrize(
    ("declared", "hint"),
    [
        ({"kind": "none", "member": "*.csv"}, "zip archive"),
        ({"kind": "zip", "padding": True}, "concerns gz"),
        ({"kind": "rar"}, "'none', 'gz', 'zip' or 'zst'"),
        ({"kind": "gz", "level": 3}, "Extra inputs"),
    ],
)
def test_a_container_that_cannot_be_is_an_authors_mistake(declared: dict[str, object], hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        Container.model_validate(declared)
    assert Container.model_validate("gz").kind == "gz"
