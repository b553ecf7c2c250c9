"""Where traffic can go: routes, their members on the two sides, and a share as integer weights."""
