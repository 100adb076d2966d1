"""The protocols of the lab, one module each, named by their id: a metrologist reads one file from top to bottom.

>>> get("RED-TE").title.en
'Angular transmission error'
"""

from __future__ import annotations

import difflib

from verification_platform.engine.protocol import Protocol, ProtocolError

from .reducer.red_hys import Hysteresis
from .reducer.red_nl import NoLoadTorque
from .reducer.red_te import TransmissionError
from .servo.srv_step import StepResponse

PROTOCOLS: dict[str, Protocol] = {
    protocol.id: protocol for protocol in (TransmissionError(), Hysteresis(), NoLoadTorque(), StepResponse())
}


def get(protocol_id: str) -> Protocol:
    """The protocol of that id, in any case. Raises ProtocolError naming what comes near."""
    wanted = protocol_id.strip().upper()
    try:
        return PROTOCOLS[wanted]
    except KeyError:
        near = difflib.get_close_matches(wanted, PROTOCOLS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(PROTOCOLS)}"
        raise ProtocolError(f"unknown protocol {protocol_id!r}; {hint}") from None
