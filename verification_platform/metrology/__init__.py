"""What makes a number a measurement: units, uncertainty, rounding, decision rules.

Begin with `budget` (a result is the sum of named contributions) and `decision` (how it becomes a verdict); `result` is
what both end in, `records` what is known of a channel. Why it is so: docs/explanation/uncertainty.md.
"""
