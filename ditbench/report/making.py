"""How pictures were made and judged, in the sentences of the page that says how it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ditbench import scores
from ditbench.records import Record
from ditbench.report import words
from ditbench.report.tables import NOT_MEASURED
from ditbench.store import Run


def pictures(records: list[Record], shards: list[Record]) -> str:
    """How many, and what was asked of each pair."""
    if not records:
        return f"Pictures were {NOT_MEASURED}."
    samples = words.span(int(r.facts["samples"]) for r in records if "samples" in r.facts)
    micro = words.span(int(r.facts["micro_batch"]) for r in records if "micro_batch" in r.facts)
    return (
        f"{samples} per method, the same noise and labels for all, in micro-batches of {micro}, never "
        "timed. Latent drift is the relative L2 distance of the final latents from softmax's, median over "
        "pictures. PSNR, SSIM and LPIPS compare each picture with softmax's of the same seed."
        f"{_taken(shards)}"
    )


def _taken(shards: list[Record]) -> str:
    """Which runs made pictures that this one only judged."""
    made_by = Counter(str(one.facts["taken_from"]) for one in shards if "taken_from" in one.facts)
    told = " and ".join(f"{count} from run {run}" for run, count in made_by.items())
    of = words.plural(len(shards), "shard")
    return f" Of {of} of pictures, these were taken over: {told}." if told else ""


def distances(records: list[Record]) -> str:
    """Which networks looked at them, and what their distances are called."""
    networks = {named for one in records for named in _networks(one.facts)}
    if not networks:
        return ""
    named = "; ".join(f"{name}, sha256 {sha[:16]}" for name, sha in sorted(networks))
    others = sorted(name for name, _ in networks if name != scores.INCEPTION)
    no_fid = (
        f" Those of {', '.join(others)} are not FID, which is the same formula in one certain Inception "
        "network, and may not be compared with one."
        if others
        else ""
    )
    return (
        f"Measured in the features of {named}.{no_fid} Extractor, number of pictures and reference are part "
        "of the name (fid_<pictures>, fd_<extractor>_<pictures>). Fewer pictures make it larger, so only the "
        "difference to softmax's own distance, over the same seeds, with its paired standard error, tells a "
        "method's price."
    )


def _networks(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and digest of every network that looked at the pictures; older records name one."""
    older = facts.get("extractor")
    found = facts.get("extractors") or ({str(older["name"]): older} if older else {})
    return [(name, str(of["sha256"])) for name, of in found.items() if "sha256" in of]


def sampling(run: Run) -> str:
    """By what protocol latents were made."""

    def each(said: Callable[[Any], str]) -> str:
        return ", ".join(dict.fromkeys(said(cell) for cell in run.planned))

    if not run.planned:
        return ""
    return (
        f"Sampler {each(lambda c: c.sampling.sampler)}; steps {each(lambda c: str(c.steps))}; guidance scale "
        f"{each(lambda c: f'{c.sampling.guidance_scale:g}')} (above 1 every forward has twice the rows) on "
        f"{each(lambda c: _channels(c.sampling.guidance_channels))}; "
        f"dtype {each(lambda c: c.sampling.dtype)}; seed {each(lambda c: str(c.sampling.seed))}; "
        f"weights {each(lambda c: c.weights)}."
    )


def _channels(first: int) -> str:
    return f"the first {first} channels" if first else "all channels"
