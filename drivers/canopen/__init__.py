"""CiA 402 drives and CiA 406 encoders on CANopen, latched together by one SYNC.

From the outside in: `family`, `group` (all of a bus), `node` (one of them), `drive`, `encoder`, `codec` (bytes ↔ values).
"""
