"""Archives of images that a spec names: every one that cannot be loaded is said, before any node is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from npuctl.operate.local_files import local_files
from npuctl.spec.parse import SpecError
from tests.making import inventory_of, service_data, spec_of
from tests.unit.operate.test_image_archive import members, write


def wanted(name: str, file: str) -> dict[str, Any]:
    return service_data(name, image_file=file, port=8000 + len(name))


def test_an_archive_is_looked_into_and_not_hashed(tmp_path: Path) -> None:
    write(tmp_path / "x-aarch64.tar", members())
    found = local_files(inventory_of(tmp_path, spec_of(wanted("a", "x-{arch}.tar"))))
    assert set(found) == {"x-aarch64.tar"}
    local = found["x-aarch64.tar"]
    assert (local.sha256, local.resolved) == ("", str(tmp_path / "x-aarch64.tar"))
    assert local.archive is not None
    assert local.archive.images[0].names == ["quay.io/a:1"]


def test_all_that_cannot_be_loaded_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive")
    write(tmp_path / "oci.tar", {"index.json": b"{}"})
    spec = spec_of(wanted("a", "text.tar"), wanted("bb", "oci.tar"), wanted("ccc", "none.tar"))
    with pytest.raises(SpecError) as caught:
        local_files(inventory_of(tmp_path, spec))
    keys = [problem.where.rpartition(": ")[2] for problem in caught.value.problems]
    assert keys == [f"npuctl_cluster.services[{index}].image_file" for index in range(3)]
    texts = [problem.message for problem in caught.value.problems]
    assert "is no archive of images: it cannot be read as a tar archive" in texts[0]
    assert "OCI layout" in texts[1]
    assert "is not a file here" in texts[2]
