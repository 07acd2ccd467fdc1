"""JUnit XML: one suite, one test case a cell, as the schema of Ant's reports has it (windyroad/JUnit-Schema).

A cell that failed or regressed is a failure, one that was not to run is skipped. A figure that moved and was
not confirmed fails nothing: it stands in the suite's properties and its output. A case's time is its latency.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from ditbench.compare import Comparison, Finding, Verdict
from ditbench.environment import code_label
from ditbench.errors import first_of, one_line
from ditbench.export.result import Exported, Result
from ditbench.records import METHOD_AXES, Cell, Status
from ditbench.summary import Row

# What XML 1.0 has no character for, beside the controls that `one_line` takes out.
_NO_XML = re.compile("[\ufffe\uffff]")


def write(result: Result) -> Exported:
    """One `testsuite` in `testsuites`."""
    cases = list(_cases(result))
    root = ET.Element("testsuites")
    suite = ET.SubElement(root, "testsuite", _attributes(result, cases))
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(result).items():
        ET.SubElement(properties, "property", name=name, value=_plain(value))
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = "\n".join(map(_plain, _output(result)))
    ET.SubElement(suite, "system-err").text = "\n".join(map(_plain, result.run.problems))
    ET.indent(root)
    return Exported(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _attributes(result: Result, cases: list[ET.Element]) -> dict[str, str]:
    return {
        "id": "0",
        "name": _plain(result.run.suite) or "suite",
        "package": "ditbench",
        "hostname": "localhost",  # the schema's word for a machine that is not named
        "timestamp": _moment(result.run.started),
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": _decimal(sum(record.seconds for record in result.run.records)),
    }


def _cases(result: Result) -> Iterator[ET.Element]:
    """Every planned cell, then those that only the baseline has."""
    findings = defaultdict(list)
    for one in result.comparison.findings:
        findings[one.cell.key].append(one)
    for row in result.summary.rows:
        latency = row.estimates.get("latency")
        case = _case(row.cell, latency.value if latency else 0.0)
        _outcome(case, row, findings[row.cell.key])
        yield case
    here = {row.cell.key for row in result.summary.rows}
    for one in result.comparison.findings:
        if one.verdict is Verdict.MISSING and one.cell.key not in here:
            case = _case(one.cell, 0.0)
            ET.SubElement(case, "skipped", message=_plain(f"{one.verdict}: {one.reason}"))
            yield case


def _case(cell: Cell, seconds: float) -> ET.Element:
    rest = " ".join(
        f"{axis}={value}" for axis, value in cell.axes.items() if axis not in METHOD_AXES
    )
    method = _plain(cell.method)
    return ET.Element("testcase", name=_plain(rest), classname=method, time=_decimal(seconds))


def _outcome(case: ET.Element, row: Row, findings: list[Finding]) -> None:
    """At most one, as the schema wants it: what failed says more than what got slower."""
    worse = [one for one in findings if one.verdict is Verdict.REGRESSED]
    if row.status.known_before:
        ET.SubElement(case, "skipped", message=_plain(f"{row.status}: {row.reason}"))
    elif row.status is not Status.OK:
        _fail(case, str(row.status), [row.reason])
    elif worse:
        _fail(case, str(worse[0].verdict), [_told(one) for one in worse])


def _fail(case: ET.Element, kind: str, reasons: list[str]) -> None:
    failure = ET.SubElement(case, "failure", type=kind, message=_plain(reasons[0]))
    failure.text = "\n".join(map(_plain, reasons))


def _told(one: Finding) -> str:
    return f"{one.metric}: {one.verdict}: {one.reason}"


def _properties(result: Result) -> Mapping[str, str]:
    found = result.comparison
    return {
        "run": result.run.id,
        "code": code_label(result.run.code),
        "environment": result.run.environment.id,
        "baseline": found.baseline or "none",
        "exit_code": str(first_of(set(found.exit_codes))),
        "exit_codes": " ".join(map(str, sorted(found.exit_codes))),
        "inconclusive": str(len(_moved(found))),
        **({"shift": found.shift} if found.shift else {}),
    }


def _output(result: Result) -> Iterator[str]:
    found = result.comparison
    for one in _moved(found):
        yield f"{one.cell.id}: {_told(one)}"
    for lint in found.lint:
        yield f"{lint.cell.id}: {lint.said}" if lint.cell else lint.said
    yield from result.summary.notes


def _moved(found: Comparison) -> list[Finding]:
    return [one for one in found.findings if one.verdict is Verdict.INCONCLUSIVE]


def _moment(started: str) -> str:
    """In UTC, for the schema knows no zone; the epoch of a head that somebody wrote by hand."""
    try:
        began = datetime.fromisoformat(started)
    except ValueError:
        began = datetime.fromtimestamp(0, UTC)
    return began.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _decimal(seconds: float) -> str:
    """Without an exponent, which the schema's decimals do not have."""
    return f"{seconds:.9f}" if math.isfinite(seconds) else "0"


def _plain(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", one_line(text))
