"""`python -m jotunheim.cli`: the `jotunheim` command, for processes that start each other."""

from jotunheim.cli import main

main()
