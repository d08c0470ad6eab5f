"""`python -m benchmarks.child FUNCTION ARGUMENTS BEGAN`: a measurement in a process of its own (`harness.fresh`)."""

from __future__ import annotations

import json
import sys

from benchmarks.harness import call


def main() -> None:
    """Print what the function returns, as the last line."""
    function, arguments, began = sys.argv[1:]
    print(json.dumps(call(function, {**json.loads(arguments), "began": float(began)})))


if __name__ == "__main__":
    main()
