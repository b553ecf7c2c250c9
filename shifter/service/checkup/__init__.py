"""`shifter doctor`: what is wrong with an installation, before it matters, and what to do about each thing.

    gathering.py     asks everybody at the same time, and nobody for longer than a bound
    findings.py      what is told: level, subject, what was found, the fix
    doors.py         where a shifter remembers: store.py a file, cluster.py (with rights.py) a namespace of a cluster
    contents.py      what is in a store, wherever it is
    configuration.py, versions.py, machine.py      what lies on this machine
    clocks.py, datasources.py, provider.py, capacity.py      what has to be asked of others
    examination.py   all of it together

Asking and judging are two steps: what was gathered is plain values, and what they mean is a pure function of them.
Everything is read; nothing here can change a share, an order or a file.
"""
