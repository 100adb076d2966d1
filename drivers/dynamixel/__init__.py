"""Dynamixel servos on protocol 2.0, all read by one instruction a cycle.

From the outside in: `family`, `group`, `servo`, `master` (requests and answers with deadlines), `codec` (bytes ↔ values).
"""
