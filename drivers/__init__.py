"""Devices on a wire; imports nothing else of this repository.

Where to look:

    device, family, families    what a device can do; what a family of devices is; which there are
    group, runner, schedule     the devices of one bus, the thread that owns it, and when its cycles begin
    bus                         serial lines, CAN and TCP by URI
    canopen … scpi, camera      one family a folder; a model is a table in its `models`
    emulators                   the same devices from the same tables, answering on an emulated wire

How to add one: docs/how-to/add-a-device.md.
"""
