"""Calibration of sensors: line metrics of force and torque transducers, angle errors, six-axis decoupling.

Protocol specification SEN-TQ, SEN-ENC, SEN-FT6.
"""
