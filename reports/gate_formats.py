"""The verdicts of a gate as the files that services of continuous integration read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from reports.gate import RULES, Verdict
from reports.text import one_line

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def as_junit(verdicts: Sequence[Verdict]) -> str:
    """JUnit XML, as Jenkins' schema junit-10 has it: a test case a verdict."""
    states = Counter(one.state for one in verdicts)
    counts = {"tests": len(verdicts), "failures": states["failed"], "errors": 0}
    attributes = {name: str(count) for name, count in counts.items()}
    root = ElementTree.Element("testsuites", {"name": "bench check", **attributes})
    attributes["skipped"] = str(states["skipped"])
    suite = ElementTree.SubElement(root, "testsuite", {"name": "bench check", **attributes})
    for one in verdicts:
        place = ".".join(map(one_line, filter(None, [one.cell_id, one.suite])))
        case = ElementTree.SubElement(suite, "testcase", name=one.rule, classname=place)
        if one.state != "passed":
            name = "failure" if one.state == "failed" else "skipped"
            ElementTree.SubElement(case, name, type=one.rule, message=one_line(one.text))
    ElementTree.indent(root)
    return f"{ElementTree.tostring(root, encoding='unicode')}\n"


def as_sarif(verdicts: Sequence[Verdict], out: Path) -> str:
    """SARIF 2.1.0: a result a failure, at the record of its cell below the results folder `out`."""
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in RULES.items()]
    driver = {"name": "bench check", "rules": rules}
    results = [_result(one, out) for one in verdicts if one.state == "failed"]
    run = {"tool": {"driver": driver}, "results": results}
    log = {"$schema": _SARIF, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def _result(verdict: Verdict, out: Path) -> dict[str, Any]:
    record = out / "cells" / verdict.cell_id / "cell.json"
    uri = record.as_uri() if record.is_absolute() else quote(record.as_posix())
    place = {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}
    what = one_line(f"{verdict.cell_id} {verdict.suite}".strip())
    return {
        "ruleId": verdict.rule,
        "ruleIndex": list(RULES).index(verdict.rule),
        "level": "error",
        "message": {"text": f"{what}: {one_line(verdict.text)}"},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"cellSuiteRule/v1": f"{what} {verdict.rule}"},
    }
