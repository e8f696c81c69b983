"""Ask the first replica of an inventory's first service for a completion, over HTTP, and print it."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

from npuctl.operate.look import expected_replicas
from npuctl.remote.inventory import load_inventory

MAX_TOKENS = 16


def main(folder: str, prompt: str) -> int:
    """Print the prompt and what the model made of it."""
    inventory = load_inventory(Path(folder))
    target = expected_replicas(inventory)[0]
    url = f"http://{inventory.hosts[target.node].address}:{target.port}/v1/completions"
    body = {"model": target.service.model.id, "prompt": prompt, "max_tokens": MAX_TOKENS, "temperature": 0}
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310  the scheme is written above
        answer = json.load(response)
    print(f"POST {url}\n  prompt:     {prompt!r}\n  completion: {answer['choices'][0]['text']!r}")
    print(f"  usage:      {answer['usage']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
