#!/usr/bin/python3
"""Images on a node: brought through a mirror, with a login or from an archive; those of ours removed again."""

import contextlib

from ansible.module_utils import npuctl_docker as docker
from ansible.module_utils import npuctl_pull as pull
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_image
short_description: Bring images to a node, or remove those that npuctl brought
description:
  - C(begun) starts to bring what is not there and returns at once; a process of its own goes on with it.
  - C(present) waits for that, C(seconds) at most, and says how far it is; call it until it has C(finished).
  - C(absent) removes the names that npuctl gave, and refuses while a container uses one of the images.
  - A login is used for the call to Docker's socket only and is written nowhere.
options:
  state: {description: What should be., type: str, choices: [begun, present, absent], required: true}
  images:
    description: >-
      Each with reference, and where they differ source (the name it is pulled by), registry (of the source), archive
      (its path on the node), archive_name, archive_names (its tags there) and id.
    type: list
    elements: dict
    default: []
  references:
    description: What C(state=absent) removes; empty means all that npuctl brought for this cluster, or for nobody.
    type: list
    elements: str
  cluster: {description: For whom images are brought; another cluster's are never removed., type: str, default: ""}
  logins: {description: "For C(state=begun): registry and username of each.", type: list, elements: dict, default: []}
  passwords: {description: Of the logins, in the same order., type: list, elements: str, default: []}
  product: {description: Product of this node; an image for another one is removed again., type: str, default: ""}
  soc_versions: {description: Beginning of an image's SOC_VERSION to the product it is for., type: dict, default: {}}
  refresh: {description: Pull again what is there; its tag may have moved., type: bool, default: false}
  seconds: {description: How long C(state=present) waits., type: int, default: 60}
author: npuctl
"""
EXAMPLES = r"""
- name: Remove what npuctl brought
  npuctl_image: {state: absent}
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
absent: {description: References of what is not there., returned: in check mode, type: list, elements: str}
finished: {description: Whether nothing is on its way any more., returned: always, type: bool}
"""


def begin(images, params, check_mode):
    """Start what is not there; a failure is said by whoever waits, for this task is silent."""
    logins = [
        dict(login, password=password)
        for login, password in zip(params["logins"], params["passwords"])  # noqa: B905  Python 3.8 has no strict
    ]
    if not check_mode:
        with contextlib.suppress(docker.DockerError):
            pull.begin(images, logins, refresh=params["refresh"])
    return {"changed": False, "done": [], "finished": False}


def bring(images, params, check_mode):
    """What came of them so far; in check mode, what would be brought."""
    if check_mode:
        absent = [image for image in images if not pull.is_as_wanted(image)]
        done = [f"{'load' if image['archive'] else 'pull'} {image['reference']}" for image in absent]
        names = [image["reference"] for image in absent]
        return {"changed": bool(done), "done": done, "finished": True, "absent": names}
    found = pull.wait(images, params["seconds"])
    if found["progress"]:
        return {"changed": False, "done": found["progress"], "finished": False}
    if found["failed"]:
        also = f" ({', '.join(found['done'])})" if found["done"] else ""
        return {"failed": True, "msg": "; ".join(found["failed"]) + also, "finished": True}
    return {"changed": bool(found["done"]), "done": found["done"], "finished": True}


def remove(references, check_mode, cluster=""):
    """Take away the names that npuctl gave for this cluster."""
    notes = pull.read_notes()
    going = {
        name: entry
        for name, entry in notes.items()
        if (not references or name in references) and pull.is_of(entry, cluster)
    }
    names = {name for entry in going.values() for name in entry["names"] if docker.image(name) is not None}
    ids = {docker.image(name)["Id"] for name in names}
    users = sorted(
        "{} uses {}".format(entry["Names"][0].lstrip("/"), entry["Image"])
        for entry in docker.call("GET", "/containers/json", {"all": 1})
        if entry["ImageID"] in ids
    )
    if users:
        message = f"{'; '.join(users)}: remove the container first (npuctl teardown); no image was removed"
        return {"failed": True, "msg": message}
    if going and not check_mode:
        pull.drop(sorted(names))
        with pull.notes_held():
            pull.write_notes({name: entry for name, entry in pull.read_notes().items() if name not in going})
    return {"changed": bool(going), "done": [f"removed {name}" for name in sorted(names)], "finished": True}


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["begun", "present", "absent"]},
            "images": {"type": "list", "elements": "dict", "default": []},
            "references": {"type": "list", "elements": "str"},
            "logins": {"type": "list", "elements": "dict", "default": []},
            "passwords": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "product": {"type": "str", "default": ""},
            "soc_versions": {"type": "dict", "default": {}},
            "refresh": {"type": "bool", "default": False},
            "cluster": {"type": "str", "default": ""},
            "seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    about = {key: params[key] for key in ("product", "soc_versions", "cluster")}
    images = [pull.complete(image, **about) for image in params["images"]]
    try:
        if params["state"] == "absent":
            answer = remove(params["references"] or [], module.check_mode, params["cluster"])
        else:
            act = {"begun": begin, "present": bring}[params["state"]]
            answer = act(images, params, module.check_mode)
    except docker.DockerError as error:
        answer = {"failed": True, "msg": str(error)}
    if answer.get("failed"):
        module.fail_json(**{key: value for key, value in answer.items() if key != "failed"})
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
