"""The network between real processes, as a TCP proxy that can fail: every fault of it is data."""
