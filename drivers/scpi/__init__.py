"""Power analysers and meters that speak SCPI on a serial line or over TCP: `family`, `group`, `device`, `link`, `codec`."""
