"""The time that `import stepwell.client` takes beyond httpx and msgspec, in processes of their own.

python tests/bench/client_import.py [--runs 20]
"""

import argparse
import subprocess
import sys
from statistics import median

_CODE = """
import sys, time
import httpx, msgspec
start = time.perf_counter()
import stepwell.client
print(1000 * (time.perf_counter() - start), len(sys.modules))
"""
LIMIT_MS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    lines = [
        subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(runs)
    ]
    times = sorted(float(line[0]) for line in lines)
    print(f"import stepwell.client: median {median(times):.1f} ms, best {times[0]:.1f} ms, of {runs} runs")
    print(f"limit: {LIMIT_MS} ms; modules in the process: {lines[0][1]}")


if __name__ == "__main__":
    main()
