"""Coverage-guided fuzzing of the same targets by bytes, for as long as one likes.

    pip install -e '.[fuzz]'     # atheris: wheels for Linux and Python 3.11 to 3.14
    python tests/fuzz/guided.py suites -runs=10000
    python tests/fuzz/guided.py records -max_total_time=600 my-corpus/

The first word is what to fuzz: suites, records or baselines; the rest goes to libFuzzer. It starts from
real inputs and a dictionary of words, and what it finds is written to crash-* where it was started.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE.parent.parent)]

with atheris.instrument_imports(include=["ditbench"]):
    import strategies
    import targets

_BASELINE = b"\n".join((*targets.BASELINE, b""))
# What to fuzz, and what to begin with.
_KINDS = {
    "suites": (
        lambda data, folder: targets.suite(data.decode("utf-8", "replace"), folder),
        (strategies.SUITE.encode(), b"name: x\nmodel: small\nattention: softmax\n"),
    ),
    "records": (targets.records_of_any_sum, targets.LINES),
    "baselines": (targets.baseline_of_any_sum, (_BASELINE,)),
}


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer has had enough."""
    kind, *options = arguments
    target, seeds = _KINDS[kind]
    work = Path(tempfile.mkdtemp(prefix="ditbench-fuzz-"))
    corpus, folder = work / "corpus", work / "folder"
    corpus.mkdir()
    folder.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    words = [*strategies.WORDS] if kind == "suites" else [*strategies.FIELDS]
    (work / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in words))
    fixed = [f"-dict={work / 'words'}", "-timeout=5", *options]
    atheris.Setup([sys.argv[0], *fixed, str(corpus)], lambda data: target(data, folder))
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode("utf-8", "surrogatepass"))


if __name__ == "__main__":
    main(sys.argv[1:])
