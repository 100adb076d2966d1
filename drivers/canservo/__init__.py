"""Servos with a CAN protocol of their own: ODrive, CyberGear and RobStride, MIT joint modules, mixed on one bus; moteus on CAN FD.

From the outside in: `family`, `group`, `servo` (what the dialects share); one device and one codec module a dialect.
"""
