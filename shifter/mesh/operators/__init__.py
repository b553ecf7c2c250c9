"""From a mesh file to the IstioOperators of its clusters: one for each, as a release of istioctl reads them. Pure.

Here belongs what is said to istioctl, and nothing that asks or changes a cluster: the same file and the same address of
istiod give the same text, byte for byte, so that what `plan` shows is what `install` does.

- `rendering`: which release renders which cluster; the only door.
- `release_1_18`, `release_1_31`: what a release line is told: profile, values, gateways that it would bring unasked.
  They share no template: the same word means other things to them (`values.global.externalIstiod`).
- `gateways`: what of a gateway is Kubernetes' own, and the same to all of them.
- `releases`: what is known of each release line, and what a person should be warned of.
- `surroundings`: what a cluster needs besides and istioctl does not make: namespaces and their annotations.
- `putting`: ours and what is passed through become one; `shifter/mesh/yaml_text.py` makes YAML of it.
"""
