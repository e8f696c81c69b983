"""Faults of versions: a driver, a firmware or an image that does not fit the rest.

A driver is changed as an update with its reboot changes it: the file on disk and what runs. An image's version
files are changed in its layer, so that it keeps its id; its environment and its labels by a commit, so that it gets
another one.
"""

from __future__ import annotations

from npuctl.sandbox.fault_scripts import Script

_DRIVER_INFO = "/usr/local/Ascend/driver/version.info"
_FIRMWARE_INFO = "/usr/local/Ascend/firmware/version.info"
# A driver that was installed by its package lies under a read-only mount.
_WRITABLE = "! mountpoint -q /usr/local/Ascend/driver || umount /usr/local/Ascend/driver"
_KEPT = "/var/lib/npusim/before-versions"
_ENGINE_IMAGES = "docker images --filter reference='npuctl-sandbox/*' --format '{{.Repository}}:{{.Tag}}'"


def _keep(name: str) -> str:
    return f"mkdir -p {_KEPT}; [ ! -e {_KEPT}/{name} ] || exit 0"


def _driver(version: str, *, also: str = "") -> tuple[str, str]:
    """Put and clear of an update of the driver; `also` is what its package changes besides."""
    name = f"driver-{version}"
    put = f"""
{_keep(name)}
mkdir {_KEPT}/{name}
cp {_DRIVER_INFO} {_KEPT}/{name}/driver
cp {_FIRMWARE_INFO} {_KEPT}/{name}/firmware
npusim fault driver --value {version}
npusim boot
{also}
"""
    clear = f"""
[ -e {_KEPT}/{name} ] || exit 0
npusim fault driver --value "$(sed -n 's/^Version=//p' {_KEPT}/{name}/driver)"
npusim boot
{_WRITABLE}
cp {_KEPT}/{name}/driver {_DRIVER_INFO}
cp {_KEPT}/{name}/firmware {_FIRMWARE_INFO}
rm -r {_KEPT}/{name}
"""
    return put, clear


def _in_layer(name: str, edit: str, undo: str) -> tuple[str, str]:
    """Put and clear of a change to the files of each engine image, below $layer."""
    each = f"""
for image in $({_ENGINE_IMAGES}); do
  layer=$(docker image inspect --format '{{{{.GraphDriver.Data.UpperDir}}}}' "$image")
  [ -d "$layer" ] || continue
"""
    put = f"{_keep(name)}\n{each}  {edit}\ndone\ntouch {_KEPT}/{name}\n"
    clear = f"[ -e {_KEPT}/{name} ] || exit 0\n{each}  {undo}\ndone\nrm {_KEPT}/{name}\n"
    return put, clear


def _commit(name: str, change: str) -> tuple[str, str]:
    """Put and clear of another image under the name of each engine image."""
    put = f"""
{_keep(name)}
for image in $({_ENGINE_IMAGES}); do
  docker tag "$image" "{name}-kept/$image"
  made=$(docker create --entrypoint true "$image")
  docker commit --change '{change}' "$made" "$image" >/dev/null
  docker rm "$made" >/dev/null
done
touch {_KEPT}/{name}
"""
    clear = f"""
[ -e {_KEPT}/{name} ] || exit 0
for kept in $(docker images --filter reference='{name}-kept/npuctl-sandbox/*' --format '{{{{.Repository}}}}:{{{{.Tag}}}}'); do
  image="${{kept#{name}-kept/}}"
  made=$(docker image inspect --format '{{{{.Id}}}}' "$image")
  docker tag "$kept" "$image"
  docker rmi "$kept" >/dev/null
  docker rmi "$made" >/dev/null || true
done
rm {_KEPT}/{name}
"""
    return put, clear


# A driver of 24.1 and a firmware whose files name each other: they fit, and the image's CANN does not.
_OLD_DRIVER = _driver(
    "24.1.0",
    also=f"""
{_WRITABLE}
sed -i 's/^compatible_version_fw=.*/compatible_version_fw=[7.0.0,7.8.99]/' {_DRIVER_INFO}
sed -i '/^compatible_version_drv=/s/$/,[24.1,24.1]/' {_FIRMWARE_INFO}
""",
)
_FIRMWARE = _keep("firmware-unfit")
_CANN_INFO = '"$layer"/usr/local/Ascend/cann-*/*-linux/ascend_toolkit_install.info'
_PACKAGES = '"$layer"/usr/local/python3.11/lib/python3.11/site-packages'

SCRIPTS: dict[str, Script] = {
    "driver-old": Script("a driver that is too old for the image's CANN: 24.1.0", *_OLD_DRIVER),
    "driver-unlisted": Script(
        "a driver that no table names with the image's CANN: 25.7.0", *_driver("25.7.0")
    ),
    "driver-differs": Script(
        "a driver that fits, but is not that of the other nodes: 25.2.0", *_driver("25.2.0")
    ),
    "firmware-unfit": Script(
        "the driver's file names other firmware than the one that runs",
        put=f"""
{_FIRMWARE}
cp {_DRIVER_INFO} {_KEPT}/firmware-unfit
{_WRITABLE}
sed -i 's/^compatible_version_fw=.*/compatible_version_fw=[8.0.0,8.2.99]/' {_DRIVER_INFO}
""",
        clear=f"""
[ -e {_KEPT}/firmware-unfit ] || exit 0
{_WRITABLE}
cp {_KEPT}/firmware-unfit {_DRIVER_INFO}
rm {_KEPT}/firmware-unfit
""",
    ),
    "image-cann": Script(
        "the engine image holds another CANN than its release: 8.5.0",
        *_in_layer(
            "image-cann",
            f"sed -i.kept 's/^version=.*/version=8.5.0/' {_CANN_INFO}",
            f'for info in {_CANN_INFO}; do mv "$info.kept" "$info"; done',
        ),
    ),
    "image-torch-npu": Script(
        "the engine image holds another torch_npu than its release: 2.8.0",
        *_in_layer(
            "image-torch-npu",
            f'for package in {_PACKAGES}/torch_npu-*; do basename "$package" >"$layer.kept"; '
            f'mv "$package" {_PACKAGES}/torch_npu-2.8.0.dist-info; done',
            f'mv {_PACKAGES}/torch_npu-2.8.0.dist-info {_PACKAGES}/"$(cat "$layer.kept")"; rm "$layer.kept"',
        ),
    ),
    "image-product": Script(
        "the engine image was built for a product of another kind (950)",
        *_commit("image-product", "ENV SOC_VERSION=ascend950dt_9582"),
    ),
}
