"""Runs the gateway's library, Pillow and sharp over the same original, in turns, one thread each; prints a table.

Usage: run.py BENCH-BINARY WORK-FOLDER SHARP-HOME [ROUNDS] [TIMES]
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from label import PACKET

here = Path(__file__).parent
ours, work, sharp_home = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
rounds, times = (int(word) for word in (sys.argv[4:6] if len(sys.argv) > 5 else ("5", "10")))
font = here.parents[2] / "gateway/assets/fonts/NotoSansSC-Subset.otf"
original, packet = work / "original.png", work / "packet.xml"

work.mkdir(parents=True, exist_ok=True)
subprocess.run([sys.executable, here / "input.py", original], check=True)
packet.write_text(PACKET)
subprocess.run([sys.executable, here / "overlays.py", font, work], check=True)


def pillow(name, *level):
    return [sys.executable, here / "with_pillow.py", original, work / name, times, font, *level]


def sharp(name, *level):
    return ["node", here / "with_sharp.cjs", original, work / name, times, work, packet, *level]


CONTENDERS = {
    "gateway": [ours, original, work / "gateway", times],
    "Pillow": pillow("pillow"),
    "Pillow, PNG level 1": pillow("pillow-1", 1),
    "sharp": sharp("sharp"),
    "sharp, PNG level 1": sharp("sharp-1", 1),
}
results = {name: {"wall_ms": [], "cpu_ms": []} for name in CONTENDERS}
environment = {**os.environ, "SHARP_HOME": sharp_home, "UV_THREADPOOL_SIZE": "1", "OMP_NUM_THREADS": "1"}
for number in range(rounds):
    # Another order each round: nobody always runs behind the same one.
    names = list(CONTENDERS)
    for name in names[number % len(names) :] + names[: number % len(names)]:
        command = [str(word) for word in CONTENDERS[name]]
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=here)
        told = json.loads(told.stdout)
        results[name]["wall_ms"] += told["wall_ms"]
        results[name]["cpu_ms"] += told["cpu_ms"]
        results[name]["bytes"] = told["bytes"]


def row(name):
    figures = results[name]
    wall, cpu, sizes = figures["wall_ms"], figures["cpu_ms"], figures["bytes"]
    base = statistics.median(results["gateway"]["cpu_ms"])
    middle = statistics.median(cpu)
    return (
        f"| {name} | {middle:.0f} ({min(cpu):.0f}-{max(cpu):.0f}) | {statistics.median(wall):.0f}"
        f" ({min(wall):.0f}-{max(wall):.0f}) | {1000 / middle:.1f} | {middle / base:.2f} x"
        f" | {sizes['png'] / 1000:.0f} k | {sizes['webp'] / 1000:.1f} k | {sizes['thumb'] / 1000:.1f} k |"
    )


print(f"{rounds} rounds of {times}, original {original.stat().st_size / 1000:.0f} k")
print("| | processor ms, median (range) | wall ms, median (range) | pictures/s of one core | time | PNG | WebP | thumbnail |")
print("|---|---|---|---|---|---|---|---|")
for name in CONTENDERS:
    print(row(name))
