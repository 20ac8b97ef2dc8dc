"""`python -m softplus.cli`, which is `softplus` where its script is not on the path."""

from softplus.cli import main

if __name__ == "__main__":
    main()
