"""Recordings: sealed MCAP segments that any ROS 2 tool opens; writing, reading, verifying, importing.

Where to look:

    schema, cdr, marks             what stands in a segment, as bytes on a ROS 2 wire
    writer, session, recovery      a recording is written, from a stream, and saved after a crash
    seal                           the hash chain, and what breaks it
    reader, recording, align       a recording is opened; what evaluation sees of it
    mapper, cluster, spread        the work on it in several processes, with the same numbers
    importer, mapping, exporter    from and to the files of others

Import the module that is needed: a device node encodes blocks (`cdr`) and needs nothing of the rest.
"""
