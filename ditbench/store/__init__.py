"""Runs and baselines on disk: one line per record, flushed and fsynced as it ends, read back loudly.

results/<suite>/<run id>/    run.json  records.jsonl  records.rejected.jsonl  verdict.json
                             images/  logs/
baselines/<name>.jsonl       a head and the accepted records, reviewed in git like code
baselines/<name>.noise.json  what the machine's own noise was measured to be
*.session.jsonl              two arms measured side by side

A full disk, a folder that turns read-only, a file that is deleted under a run are one StoreError each, and
cost no record that had ended.
"""

from ditbench.store.admission import Admission, Terms, lasting
from ditbench.store.admitting import LeftOut
from ditbench.store.baselines import (
    Listed,
    baseline_expire,
    baseline_list,
    baseline_listed,
    baseline_path,
    baseline_read,
    baseline_set,
)
from ditbench.store.collecting import Limits, Rubbish, remove, rubbish
from ditbench.store.index import Entry, before, entries_to_json, find, runs
from ditbench.store.merging import Merged, merge
from ditbench.store.migrating import Migrated, migrate_baseline, migrate_run
from ditbench.store.noise import Floor, Noise, noise_beside, noise_path, noise_read, noise_write
from ditbench.store.order import clock_notes
from ditbench.store.reading import Run, read, read_head, skim
from ditbench.store.sameness import unlike
from ditbench.store.sessions import Arm, Session, SessionWriter, session_read
from ditbench.store.taking import Offer, offered, take_over
from ditbench.store.verdicts import (
    CONFIRM,
    Against,
    concluded_against,
    concluded_with,
    hindrance,
    write_hindrance,
    write_verdict,
)
from ditbench.store.writing import RunWriter, done, slug

__all__ = [
    "CONFIRM",
    "Admission",
    "Against",
    "Arm",
    "Entry",
    "Floor",
    "LeftOut",
    "Limits",
    "Listed",
    "Merged",
    "Migrated",
    "Noise",
    "Offer",
    "Rubbish",
    "Run",
    "RunWriter",
    "Session",
    "SessionWriter",
    "Terms",
    "baseline_expire",
    "baseline_list",
    "baseline_listed",
    "baseline_path",
    "baseline_read",
    "baseline_set",
    "before",
    "clock_notes",
    "concluded_against",
    "concluded_with",
    "done",
    "entries_to_json",
    "find",
    "hindrance",
    "lasting",
    "merge",
    "migrate_baseline",
    "migrate_run",
    "noise_beside",
    "noise_path",
    "noise_read",
    "noise_write",
    "offered",
    "read",
    "read_head",
    "remove",
    "rubbish",
    "runs",
    "session_read",
    "skim",
    "slug",
    "take_over",
    "unlike",
    "write_hindrance",
    "write_verdict",
]
