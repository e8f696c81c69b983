"""`python3 -m sandboxmirror serve|push`: run the mirror, or put an image into its registry."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from sandboxmirror import place as places
from sandboxmirror import registry
from sandboxmirror.journal import Journal
from sandboxmirror.place import Place
from sandboxmirror.server import Listener, Mount, Relay, Surroundings, tls_context


def main() -> int:
    """Do what was asked."""
    parser = argparse.ArgumentParser(prog="sandboxmirror", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    serve = actions.add_parser("serve")
    serve.add_argument("--address", required=True, help="this mirror's IPv4 address")
    serve.add_argument("--name", required=True, help="its name on the nodes")
    push = actions.add_parser(
        "push", help="put the image that `docker save` writes to stdin into the registry"
    )
    push.add_argument("repository", nargs="+", metavar="REPOSITORY:TAG")
    random = actions.add_parser("random-model", help="serve a model of that many MiB too")
    random.add_argument("mebibytes", type=int, metavar="MIB")
    options = parser.parse_args()
    if options.action == "push":
        return _push(options.repository)
    if options.action == "random-model":
        places.write_random_model(Place(), options.mebibytes)
        return 0
    return _serve(options.address, options.name)


def _push(references: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        image = registry.take_apart(sys.stdin.buffer, Path(folder))
        for reference in references:
            repository, _, tag = reference.rpartition(":")
            registry.push(image, repository, [tag])
    return 0


def _serve(address: str, name: str) -> int:
    place = Place()
    place.ready.unlink(missing_ok=True)
    places.prepare(place, name, address)
    processes = registry.start(place.state, place.registry, place.htpasswd)
    places.push_hello()
    around = Surroundings(Journal(place.journal), place.faults)
    tls = tls_context(place.tls / "server.pem", place.tls / "server.key")
    common, content = places.mounts(place, places.known_secrets(place)["hub_token"], address)
    what: dict[int, list[Mount] | Relay] = {
        80: common,
        443: common,
        places.CONTENT_PORT: content,
        5000: Relay("registry", registry.OPEN_PORT),
        5001: Relay("registry-login", registry.LOGIN_PORT),
    }
    for port, served in what.items():
        listener = Listener(("0.0.0.0", port), served, around, None if port == 80 else tls)  # noqa: S104, PLR2004
        threading.Thread(target=listener.serve_forever, daemon=True).start()
    place.ready.touch()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    for process in processes:
        process.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
