"""Byte-exact devices on emulated wires, built from the model tables their drivers read, in front of a `plant`.

Begin with `host`, the process they live in, and `families`, from a bus plan to its devices; one module a kind of device.
"""
