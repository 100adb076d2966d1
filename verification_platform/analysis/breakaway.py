"""Starting torque: the torque at which a shaft at rest begins to turn.

GB/T 35089-2018; protocol specification RED-ST, RED-BD.
"""
