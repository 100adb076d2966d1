"""Timing of controllers: cycle jitter, command-to-motion latency, trajectory following error.

Protocol specification CTL-JIT, CTL-LAT, CTL-TRK.
"""
