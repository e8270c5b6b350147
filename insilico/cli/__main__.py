"""`python -m insilico.cli` is the console script `insilico`."""

from insilico.cli import main

if __name__ == "__main__":
    main()
