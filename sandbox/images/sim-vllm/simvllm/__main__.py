"""`python -m simvllm …` is the image's `vllm …`."""

import sys

from simvllm.cli import leave, main

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
