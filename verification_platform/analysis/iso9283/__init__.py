"""Performance of manipulating robots: the characteristics of ISO 9283:1998 (GB/T 12642-2013)."""
