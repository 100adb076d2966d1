"""CiA 406 encoder: position of full resolution in a 32-bit counter, latched by SYNC."""

from __future__ import annotations

from drivers.canopen.node import CanopenNode


class Cia406Encoder(CanopenNode):
    """Reads signals and nothing else; any alarm bit (6503h) makes its reading BAD."""
