"""Sensors on CAN that send by themselves, described by a DBC database: `family`, `group`, `device`, `codec`."""
