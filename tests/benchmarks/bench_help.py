"""How much CPU time does `certify --help` take? (Target: less than 0.3 s.)"""

from __future__ import annotations

import statistics
import sys

from common import child_cpu_seconds, emit


def main() -> None:
    commands = {"certify --help": ["-m", "certify", "--help"], "certify radius --help": ["-m", "certify", "radius", "--help"], "bare interpreter": ["-c", "pass"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(7):
        for name, arguments in commands.items():
            seconds, done = child_cpu_seconds([sys.executable, *arguments])
            assert done.returncode == 0, done.stderr
            times[name].append(seconds)
    emit("CPU seconds of --help", target=0.3, **{name: {"median": statistics.median(t), "min": min(t)} for name, t in times.items()})


if __name__ == "__main__":
    main()
