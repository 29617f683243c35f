"""The conformance suite of the OCI distribution specification, against a real daemon.

Pull, push, content discovery and content management are all on, and so is what the specification
leaves to registries: cancelling uploads, mounts without a source, tags as parameters, sha512.
`make conformance-registry` runs just this and shows the suite's report; IMGD_CONFORMANCE_REPORT is
a folder to keep the report's files in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import PATIENCE, Daemon, run_daemon
from tests.peers import require

# By the specification's categories; the names are the suite's.
CATEGORIES = {
    "pull": {
        "Blob get",
        "Blob get range",
        "Blob head",
        "Manifest get by digest",
        "Manifest get by tag",
        "Manifest head by digest",
        "Manifest head by tag",
    },
    "push": {
        "Blob push",
        "Blob post only",
        "Blob post put",
        "Blob chunked",
        "Blob streaming",
        "Blob mount",
        "Blob anonymous mount",
        "Blob upload cancel",
        "Manifest put by digest",
        "Manifest put by tag",
        "Manifest put with subject",
        "Manifest put with tag params",
    },
    "content discovery": {"Tag listing", "Referrers"},
    "content management": {
        "Tag delete",
        "Tag delete atomic",
        "Manifest delete",
        "Manifest delete atomic",
        "Blob delete",
        "Blob delete atomic",
    },
    "determining support": {"Ping"},
}
# A registry may accept manifests whose blobs it does not have, and this one does not.
NOT_ASKED = {"Sparse Manifests"}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "state", "--registry-listen", "127.0.0.1:0") as daemon:
        yield daemon


def run_suite(daemon: Daemon, folder: Path) -> dict[str, dict[str, str]]:
    """Runs the suite, and prints its summary; returns each section's results.

    Fails when a test failed, was skipped or could not be run.
    """
    results = folder / "results"
    ended = subprocess.run(
        [str(require("conformance"))],
        env={
            **os.environ,
            "OCI_REGISTRY": daemon.registry,
            "OCI_TLS": "disabled",
            "OCI_VERSION": "1.1",
            "OCI_RESULTS_DIR": str(results),
            "OCI_REPO1": "conformance/repo1",
            "OCI_REPO2": "conformance/repo2",
            "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
            "OCI_API_BLOBS_DIGEST_HEADER": "true",
            "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
            "OCI_API_MANIFESTS_TAG_PARAM": "true",
        },
        # Where no configuration file is.
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    summary = ended.stdout[ended.stdout.find("OCI Conformance Result") :]
    print(summary)
    if kept := os.environ.get("IMGD_CONFORMANCE_REPORT"):
        shutil.copytree(results, kept, dirs_exist_ok=True)
    failed = [
        line for line in ended.stdout.splitlines() if re.search(r": (FAIL|Skip|Error)$", line)
    ]
    assert failed == []
    assert ended.returncode == 0, ended.stderr
    counts = ElementTree.parse(results / "junit.xml").getroot().attrib
    bad = ("failures", "errors", "skipped", "disabled")
    assert [counts[key] for key in bad if counts.get(key, "0") != "0"] == []
    sections = dict(re.findall(r"^(API|Data) conformance:\n(.*?)\n\n", summary, re.M | re.S))
    return {
        section: dict(re.findall(r"^  (.*?)\.*: +(\w+)$", lines, re.M))
        for section, lines in sections.items()
    }


def test_all_categories_conform(daemon: Daemon, tmp_path: Path) -> None:
    results = run_suite(daemon, tmp_path)
    apis = {name for names in CATEGORIES.values() for name in names}
    assert results["API"] == dict.fromkeys(apis, "Pass")
    data = results["Data"]
    assert len(data) > 20
    assert {name for name, status in data.items() if status != "Pass"} == NOT_ASKED
    assert [entry for entry in daemon.log if entry.get("level") in ("warning", "error")] == []
    # It deletes what it pushes; nothing is left to be seen.
    with urllib.request.urlopen(f"http://{daemon.registry}/v2/_catalog") as answer:
        assert json.load(answer) == {"repositories": []}
