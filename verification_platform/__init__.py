"""The platform of a pilot-verification lab, below its protocols and reports.

Each room imports only what stands above it:

    analysis    accumulators and functions on arrays
    metrology   units, uncertainty, calibration records, decision rules
    disk, tables, traceability
                what files share: written whole or not at all; tables; what they state of channels and fixture
    records     recordings: writing, sealing, reading, importing
    bench       bench descriptions, safety, the built-in plant and simulator
    engine      steps, runs, evaluation
    ros         the ROS graph as seen from outside
    cli         the `pilotbench` command
"""
