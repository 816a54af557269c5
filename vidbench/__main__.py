"""`python -m vidbench`."""

from vidbench.cli import main

if __name__ == "__main__":
    main()
