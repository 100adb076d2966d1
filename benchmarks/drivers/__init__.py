"""Our masters beside those of others, on the same slaves and in the same run.

A module of this folder gives its rows by `rows() -> list[dict]` (see `benchmarks.table.result`); what peers it needs is
in the extra ``bench``, and a peer that is missing leaves its row out with the reason printed.
"""
