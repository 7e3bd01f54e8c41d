"""`python -m benchmark` is `bench`."""

from benchmark.start import main

if __name__ == "__main__":
    main()
