"""Transducers, servo drives and brakes on Modbus RTU, asked one after another.

From the outside in: `family`, `group`, `device` and `actuator`, `rtu` (the master), `codec` (bytes ↔ values).
"""
