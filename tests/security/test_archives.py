"""Archives are unpacked with the data filter: nothing leaves the folder, wherever one is opened."""

import gzip
import io
import sys
import tarfile
from pathlib import Path

import pytest

from local.containers import unpack
from pipelines import evaluate

OUTSIDE = "outside.txt"


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for entry, body in entries:
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return gzip.compress(content.getvalue())


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


EVIL = {
    "above": archive((entry(f"../{OUTSIDE}"), b"evil")),
    "deep above": archive((entry(f"code/../../{OUTSIDE}"), b"evil")),
    "through a link": archive(
        (entry("link", tarfile.SYMTYPE, ".."), b""), (entry(f"link/{OUTSIDE}"), b"evil")
    ),
    "a link outside": archive((entry("link", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "a hard link outside": archive((entry("link", tarfile.LNKTYPE, f"../{OUTSIDE}"), b"")),
    "a device": archive((entry("null", tarfile.CHRTYPE), b"")),
}


@pytest.mark.parametrize("content", EVIL.values(), ids=EVIL)
def test_the_embedded_cloud_refuses_it(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(tarfile.TarError):
        unpack(content, tmp_path / "model")

    assert not (tmp_path / OUTSIDE).exists()


@pytest.mark.parametrize("content", EVIL.values(), ids=EVIL)
def test_the_evaluation_refuses_it(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.tar.gz").write_bytes(content)
    (tmp_path / "test.csv").write_text("0,1\n1,0\n")
    folder = ["--model", str(tmp_path), "--test", str(tmp_path), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *folder])

    with pytest.raises(tarfile.TarError):
        evaluate.main()

    assert not (tmp_path / "evaluation.json").exists()


def test_an_absolute_name_stays_inside(tmp_path: Path) -> None:
    """The data filter takes the leading slash away."""
    unpack(archive((entry("/model.json"), b"{}")), tmp_path / "model")

    assert (tmp_path / "model" / "model.json").read_bytes() == b"{}"
