"""A bench: its description, its devices, what keeps it safe, and what stands in for it.

Where to look:

    description, dut, write              what stands in files
    devices, wires, check                from the description to drivers on wires
    envelope                             which set-points are allowed at all
    interlock, limits, streams, estop    the permission for torque, and what takes it away
    silence, liveness, peers, alarm      whether everybody who must be heard is there, and soon enough
    trip, latch, lockout, state          what outlives a graph: latched trips, keys of people
    homing                               a drive finds its zero
    plant, simulated, emulated           the physics, and the two simulations on it
    bodies, gazebo                       rigid bodies that another engine turns
"""
