"""
The bars beside the peers, and what syncsvc takes beside each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench_bars import MAIN
from peers_catalogue import PEERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench_bars import Bar, Middle

OURS = "syncsvc"
Sample = dict[str, float]


TUNED = [n for n, peer in PEERS.items() if peer.script == "peers_dlt.py" and not peer.slow]
KEYED = [name for name in TUNED if PEERS[name].keys]
FED_AS_SENT = [name for name in TUNED if "arrow" not in PEERS[name].arguments]


def _beside_best(load: str, peers: list[str], their_load: str = "") -> Callable[[Middle], float]:
    """
    Our wall-clock time as a share of the least that peers took; all of them must be there.
    """

    def ratio(middle: Middle) -> float:
        walls = {name: each["wall"] for name, each in middle[MAIN].items()}
        return walls[f"{load}_{OURS}"] / min(walls[f"{their_load or load}_{n}"] for n in peers)

    return ratio


BARS: list[Bar] = [
    (
        "first sync ÷ dlt's best first load, with the same keys and indexes",
        "≤",
        1.0,
        _beside_best("first", KEYED, "keyed"),
    ),
    ("first sync ÷ dlt's best first load, as it is", "≤", 0.4, _beside_best("first", TUNED)),
    ("the same, dlt fed with rows as sent", "≤", 0.4, _beside_best("first", FED_AS_SENT)),
    ("sync without changes ÷ dlt's best", "≤", 0.5, _beside_best("unchanged", TUNED)),
    ("the same, dlt fed with rows as sent", "≤", 0.2, _beside_best("unchanged", FED_AS_SENT)),
]


def beside(middle: Middle) -> str:
    """
    What syncsvc takes beside each peer, in Markdown; less than 1 is less.
    """
    lines = [
        "| numbers | syncsvc ÷ | first: wall | CPU | peak | unchanged: wall | CPU | peak | WAL |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, samples in middle.items():
        for name in samples:
            load, _, peer = name.partition("_")
            if load == "first" and peer != OURS:
                cells = " | ".join(f"{each:.2f}" for each in _shares(samples, peer))
                lines.append(f"| {int(size):,} | {peer} | {cells} |")
    return "\n".join(lines) + "\n"


def _shares(samples: dict[str, Sample], peer: str) -> list[float]:
    first, ours_first = samples[f"first_{peer}"], samples[f"first_{OURS}"]
    later, ours_later = samples[f"unchanged_{peer}"], samples[f"unchanged_{OURS}"]
    return [
        *_share(ours_first, first),
        *_share(ours_later, later),
        ours_later["wal_bytes"] / later["wal_bytes"],
    ]


def _share(ours: Sample, theirs: Sample) -> list[float]:
    cpu, their_cpu = (each["cpu"] + each["server_cpu"] for each in (ours, theirs))
    return [ours["wall"] / theirs["wall"], cpu / their_cpu, ours["peak_mib"] / theirs["peak_mib"]]
