"""`python -m fault_injection.model [--participants N] [--variant NAME|all]`."""

from __future__ import annotations

import argparse
import sys

from fault_injection.model.run import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m fault_injection.model",
        description="Explores every state of the protocol and checks the rules (docs/protocol.md).",
        epilog="Exit codes: 0 it came out as it must, 1 it did not, 2 bad input.",
    )
    parser.add_argument("--participants", type=int, default=3, help="2, 3 or 4 (default: 3)")
    parser.add_argument("--variant", help="a broken variant's name, or all of them")
    asked = parser.parse_args()
    sys.exit(main(asked.participants, asked.variant))
