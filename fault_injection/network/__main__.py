"""`python -m fault_injection.network SEED`: the proxy's process; `control.Network` starts it."""

from __future__ import annotations

import asyncio
import sys

from fault_injection.network.process import serve

if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
