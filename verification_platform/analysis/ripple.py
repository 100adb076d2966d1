"""Torque ripple of a driven motor and cogging of an unpowered one: protocol specification SRV-RIP, SRV-COG."""
