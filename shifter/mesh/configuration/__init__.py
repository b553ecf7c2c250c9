"""Istio's configuration, carried from one mesh to the other: what goes along, how it is written, what to look at first.

    kinds      which kinds there are, and which versions of them a release of Istio reads
    cleaning   an object without what only its old cluster has put on it
    asking     which kinds to ask the old cluster for, and in which version to write them
    settings   what TCM keeps outside the cluster, and how Istio is told the same
    choosing   which objects stay behind, and why
    references which Secrets, gateways, namespaces and providers an object needs
    reading    YAML as an object, with the line of every part of it
    layout     which file an object is in
    manifest   what an export is made of: files with checksums, what was left out, what has to be brought besides
    archive    writing an export as a whole or not at all
    opening    reading it back: what is untouched, what a person changed
    findings   what lint says; lint the rules themselves: `lint_gateways`, `lint_security`, `lint_envoy`, `lint_common`
    targets    what a mesh file says of the new mesh, as lint has to know it
    order      what has to be there before what

Nothing here talks to a cluster. Objects come in as plain bodies, page by page, and only one page is held at a time: an
export of ten thousand objects has to fit a small pod.
"""
