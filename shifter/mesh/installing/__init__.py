"""Building the mesh of a file in its clusters, one step after another.

A step first looks whether it is needed and acts only then; after acting it looks again, so that `done` is something
that was seen. So a second run changes nothing, and a run that was killed anywhere is resumed by running it again: there
is no place to lose. What a step needs to know of an earlier one (istiod's address, above all) it asks the clusters for,
and never a file of the last run.

Does not belong here: what is installed (`shifter/mesh/operators`, pure), and how a cluster or istioctl is spoken to
(the ports).
"""
