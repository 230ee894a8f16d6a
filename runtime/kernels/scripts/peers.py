"""What the comparisons with other engines share: running ours, timing theirs, tables."""

import json
import math
import statistics
import subprocess
import time


def ours(sparsec, shapes, tokens, *arguments):
    """Reports of `sparsec bench kernels` on one thread, by (rows, cols, tokens)."""
    shapes, tokens = ",".join(f"{rows}x{cols}" for rows, cols in shapes), ",".join(map(str, tokens))
    command = [sparsec, "bench", "kernels", "--shapes", shapes, "--tokens", tokens, "--threads", "1", "--json", *arguments]
    reports = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["reports"]
    return {(report["case"]["rows"], report["case"]["cols"], report["tokens"]): report["formats"] for report in reports}


def median_ms(run, x, seconds, before=lambda: None):
    """Median milliseconds of `run(x)` after `before()`, repeated for so many seconds and at least five times."""
    run(x)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        before()
        start = time.perf_counter()
        run(x)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def print_row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def print_header(cells):
    print_row(cells)
    print("|---" * len(cells) + "|", flush=True)
