"""What a policy would have said about recorded metrics: nothing is asked of the cloud, and nothing is written.

    recording.py  recorded readings become ticks, and the source is learnt
    coverage.py   what is recorded at all: since when, and of which namespaces
    judging.py    ticks become what would have been said
    halves.py     the source against itself: how often the policy would cry wolf
    answering.py  all of it, for one question

Here and not in `core`, because it counts as the service counts: it shares `MeshCounter` with the live observer.
"""
