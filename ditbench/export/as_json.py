"""One JSON object: the run, its figures, its verdicts and its claims."""

from __future__ import annotations

import json

from ditbench.compare import findings_to_json
from ditbench.errors import first_of
from ditbench.export.result import Exported, Result
from ditbench.records import SCHEMA
from ditbench.summary import claims_to_json, rows_to_json


def write(result: Result) -> Exported:
    """What is not finite is the text "inf", "-inf" or "nan", for which JSON has no number."""
    run, found = result.run, result.comparison
    plain = {
        "schema": SCHEMA,
        "run": {
            "id": run.id,
            "suite": run.suite,
            "started": run.started,
            "finished": run.finished,
            "command": run.command,
            "code": dict(run.code),
            "environment": dict(run.environment.facts),
        },
        "exit_code": first_of(set(found.exit_codes)),
        "exit_codes": sorted(found.exit_codes),
        "baseline": found.baseline,
        "shift": found.shift,
        "notes": list(result.summary.notes),
        "cells": rows_to_json(result.summary),
        "findings": findings_to_json(found),
        "lint": [
            {"kind": one.kind, "said": one.said, "cell": one.cell.id if one.cell else None}
            for one in found.lint
        ],
        "claims": claims_to_json(result.summary),
    }
    return Exported((json.dumps(plain, indent=1, default=str, allow_nan=False) + "\n").encode())
