"""Giving a namespace's pods the sidecars of the new mesh, and taking them away again.

A label on the namespace decides, at every pod's creation and never later: from the moment it is set, any pod that is
replaced for any reason gets the new sidecar. So labelling and restarting belong together, what was there before is kept
in the cluster itself, and going back is both of them as well: the old labels, then a restart.

Does not belong here: whether the mesh stands at all (`shifter/mesh/installing`).
"""
