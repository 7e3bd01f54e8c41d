"""The files that the gate leaves for continuous integration: JUnit and SARIF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gated import cell

from reports.gate import Verdict
from reports.gate_formats import as_junit


@pytest.fixture
def files(bench: Any, synthetic: Any, tmp_path: Path) -> tuple[ElementTree.Element, dict[str, Any]]:
    """JUnit and SARIF of a cell that passes, one that fails, and one whose flag is let pass."""
    cell(synthetic)
    cell(synthetic, "trades", left=0.3)
    cell(synthetic, "evil\x1b<&\"'", flagged=True, cell_id="evil")
    where = ("--junit", tmp_path / "ci" / "bench.xml", "--sarif", tmp_path / "ci" / "bench.sarif")
    given = ("--allow-flags", "--min-worst-case", "0.5", *where)
    assert bench("check", synthetic.store.path, *given).code == 1
    junit = ElementTree.parse(tmp_path / "ci" / "bench.xml").getroot()
    return junit, json.loads((tmp_path / "ci" / "bench.sarif").read_text())


# What Jenkins' schema junit-10.xsd allows: element to its attributes (needed, others) and children.
JUNIT = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": ({"name"}, {"time", "classname", "group"}, {"skipped", "error", "failure"}),
    "failure": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
}


def test_junit_has_the_shape_of_its_schema(files: Any) -> None:
    for element in files[0].iter():
        needed, more, children = JUNIT[element.tag]
        assert needed <= element.attrib.keys() <= needed | more
        assert {child.tag for child in element} <= children


def test_junit_holds_no_character_that_xml_lacks() -> None:
    text = "".join(map(chr, (0, 11, 27, 0xD800, 0xFFFE, 0xFFFF, 0x1F600)))
    junit = as_junit([Verdict("whole", text, text, "failed", text)])
    assert "\U0001f600" in ElementTree.fromstring(junit)[0][0].attrib["classname"]


def test_junit_counts_what_it_holds(files: Any) -> None:
    (suite,) = files[0]
    counted = {name: int(suite.attrib[name]) for name in ("tests", "failures", "skipped", "errors")}

    assert counted == {"tests": 9, "failures": 1, "skipped": 1, "errors": 0}
    assert len(suite.findall("testcase")) == 9
    assert len(suite.findall("testcase/failure")) == 1
    assert suite.find("testcase/failure").attrib["type"] == "min-worst-case"


def test_sarif_follows_its_schema(files: Any) -> None:
    validate = pytest.importorskip("sarif_kit.validate")
    assert validate.validation_errors(files[1]) == []


def test_sarif_points_to_the_record_of_what_failed(files: Any, synthetic: Any) -> None:
    ((result,), driver) = files[1]["runs"][0]["results"], files[1]["runs"][0]["tool"]["driver"]
    (place,) = result["locations"]

    assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "min-worst-case"
    uri = place["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == next(synthetic.store.path.glob("cells/*trades*/cell.json")).as_uri()
    assert "worst case 30.0 %, where 50.0 % is asked for" in result["message"]["text"]
