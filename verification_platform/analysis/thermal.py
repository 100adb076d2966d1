"""Thermal steady state, temperature rise and winding temperature.

Protocol specification §0.6, RED-TR, SRV-S1, SRV-S3.
"""
