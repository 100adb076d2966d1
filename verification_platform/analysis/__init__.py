"""From samples to numbers, with numpy and the standard library only: no files, no ROS, no bench.

What takes a stream is an accumulator (`update(block)`, `merge(other)`, `result()`; docs/explanation/accumulators.md);
what takes a whole array is a function. One module a quantity, its source in the docstring, everything listed in
docs/reference/analysis.md. Begin with `moments`, the smallest accumulator; `samples` says what happens to bad samples.
"""
