"""`python -m shifter`: the same command line, for where the `shifter` script is not on PATH."""

from shifter.cli.main import main

main()
