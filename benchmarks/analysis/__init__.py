"""The analysis core beside its peers: `python -m benchmarks.analysis`.

A row is a small registered function that makes data and returns a `Case`: what we compute, what each peer
computes from the same data, and how the answers are compared. The runner calls them in turn in one process on
one core, and takes the median over at least five rounds of the ratio of CPU times within a round. See `runner`,
`rounds` and any `rows_*` module.
"""
