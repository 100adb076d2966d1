"""Wires: CAN frames and byte streams by URI, with absolute deadlines. Begin with `transport`, what a driver sees of one.

`can_bus` and `byte_streams` open them; `recorder`, `replayer` and `faulty` stand in between; `hub_server` and `can_hub`
are the emulated CAN bus.
"""
