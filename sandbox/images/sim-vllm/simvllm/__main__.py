"""`python -m simvllm …` is the image's `vllm …`."""

import sys

from simvllm.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
