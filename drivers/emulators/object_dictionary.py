"""Object dictionary and SDO server of an emulated CANopen device (CiA 301), pure: eight bytes in, eight bytes
out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from drivers.canopen.codec import TYPES, sdo_abort

NO_OBJECT, NO_SUBINDEX = 0x06020000, 0x06090011
READ_ONLY, WRITE_ONLY = 0x06010002, 0x06010001
BAD_LENGTH, BAD_VALUE, BAD_TOGGLE, BAD_COMMAND = 0x06070010, 0x06090030, 0x05030000, 0x05040001


class Refused(Exception):
    """An access that the device aborts; `code` as in CiA 301, table 22."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"0x{code:08X}")


@dataclass(slots=True)
class Slot:
    """One object. `kind` is a basic type, its value in `number`, or ``text``, its value in `text`.

    `check` may refuse a new number, `written` acts on it.
    """

    kind: str
    access: str
    number: int = 0
    text: bytes = b""
    mappable: bool = False
    check: Callable[[int], None] | None = None
    written: Callable[[int], None] | None = None


def one_of(allowed: tuple[int, ...]) -> Callable[[int], None]:
    """A `Slot.check`."""

    def check(value: int) -> None:
        if value not in allowed:
            raise Refused(BAD_VALUE)

    return check


class ObjectDictionary:
    """(index, subindex) → slot, with numbers on the inside and bytes on the wire."""

    def __init__(self) -> None:
        self.slots: dict[tuple[int, int], Slot] = {}

    def add(
        self,
        index: int,
        subindex: int,
        kind: str,
        value: int | str,
        access: str = "ro",
        mappable: bool = False,
    ) -> Slot:
        if isinstance(value, str):
            slot = Slot(kind, access, text=value.encode("ascii"), mappable=mappable)
        else:
            slot = Slot(kind, access, value, mappable=mappable)
        self.slots[index, subindex] = slot
        return slot

    def get(self, index: int, subindex: int = 0) -> int:
        return self.slots[index, subindex].number

    def put(self, index: int, subindex: int, value: int) -> None:
        """Set from inside the device: no access right, no hook."""
        self.slots[index, subindex].number = value

    def upload(self, index: int, subindex: int) -> bytes:
        """Raises Refused."""
        slot = self._find(index, subindex)
        if slot.access == "wo":
            raise Refused(WRITE_ONLY)
        return slot.text if slot.kind == "text" else TYPES[slot.kind].pack(slot.number)

    def download(self, index: int, subindex: int, data: bytes) -> None:
        """Raises Refused."""
        slot = self._find(index, subindex)
        if slot.access not in ("rw", "wo"):
            raise Refused(READ_ONLY)
        if slot.kind == "text":
            slot.text = data
            return
        if len(data) != TYPES[slot.kind].size:
            raise Refused(BAD_LENGTH)
        number = int(TYPES[slot.kind].unpack(data)[0])
        if slot.check is not None:
            slot.check(number)
        slot.number = number
        if slot.written is not None:
            slot.written(number)

    def _find(self, index: int, subindex: int) -> Slot:
        slot = self.slots.get((index, subindex))
        if slot is None:
            raise Refused(NO_SUBINDEX if any(i == index for i, _ in self.slots) else NO_OBJECT)
        return slot


class SdoServer:
    """Expedited and segmented transfers of one client."""

    def __init__(self, objects: ObjectDictionary) -> None:
        self._objects = objects
        self._object = (0, 0)
        self._sending: bytes | None = None
        self._receiving: bytearray | None = None
        self._announced = 0
        self._toggle = 0

    def respond(self, request: bytes) -> bytes | None:
        """The response, or None when the client has aborted or the request is no SDO."""
        if len(request) != 8:
            return None
        command = request[0]
        try:
            match command >> 5:
                case 1:
                    return self._start_download(request)
                case 0:
                    return self._take_segment(request)
                case 2:
                    return self._start_upload(request)
                case 3:
                    return self._give_segment(command)
                case 4:
                    self._sending = self._receiving = None
                    return None
                case _:
                    raise Refused(BAD_COMMAND)
        except Refused as refused:
            self._sending = self._receiving = None
            return sdo_abort(*self._object, refused.code)

    def _start_upload(self, request: bytes) -> bytes:
        index, subindex = self._object = struct.unpack_from("<HB", request, 1)
        data = self._objects.upload(index, subindex)
        if 1 <= len(data) <= 4:
            return struct.pack("<BHB", 0x43 | (4 - len(data)) << 2, index, subindex) + data.ljust(4, b"\0")
        self._sending, self._toggle = data, 0
        return struct.pack("<BHBI", 0x41, index, subindex, len(data))

    def _give_segment(self, command: int) -> bytes:
        if self._sending is None:
            raise Refused(BAD_COMMAND)
        if command & 0x10 != self._toggle:
            raise Refused(BAD_TOGGLE)
        part, rest = self._sending[:7], self._sending[7:]
        head = self._toggle | (7 - len(part)) << 1 | (not rest)
        self._sending, self._toggle = (rest or None), self._toggle ^ 0x10
        return bytes((head,)) + part.ljust(7, b"\0")

    def _start_download(self, request: bytes) -> bytes:
        index, subindex = self._object = struct.unpack_from("<HB", request, 1)
        command = request[0]
        if command & 0x02:
            size = 4 - (command >> 2 & 3) if command & 0x01 else 4
            self._objects.download(index, subindex, request[4 : 4 + size])
        else:
            self._announced = int.from_bytes(request[4:8], "little") if command & 0x01 else -1
            self._receiving, self._toggle = bytearray(), 0
        return struct.pack("<BHBI", 0x60, index, subindex, 0)

    def _take_segment(self, request: bytes) -> bytes:
        command = request[0]
        if self._receiving is None:
            raise Refused(BAD_COMMAND)
        if command & 0x10 != self._toggle:
            raise Refused(BAD_TOGGLE)
        self._receiving += request[1 : 8 - (command >> 1 & 7)]
        if command & 0x01:
            data, self._receiving = bytes(self._receiving), None
            if self._announced not in (-1, len(data)):
                raise Refused(BAD_LENGTH)
            self._objects.download(*self._object, data)
        response = bytes((0x20 | self._toggle,)) + bytes(7)
        self._toggle ^= 0x10
        return response
