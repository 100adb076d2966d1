"""From a protocol to results: what a procedure is made of, how a run is done, how its recording is evaluated.

Where to look:

    protocol, steps, conditions      what a protocol is written in
    dry_run, preflight               before anything moves
    run, execution, watch, progress  a run: as a whole, step by step, under watch
    port, stream                     the bench as the engine sees it, and what it delivers
    journal, resume                  what was done, and where an interrupted run goes on
    run_folder, recording, results   a run on the disk
    evaluation, channels             from the recording to results with verdicts
    local                            a run in one process, on the built-in simulator
"""
