"""`python -m facade` is the command `registry-facade`."""

from facade.cli import main

main()
