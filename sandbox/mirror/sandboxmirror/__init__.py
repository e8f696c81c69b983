"""What a sandbox's nodes fetch things from: package index, git, image registry, model hubs, Debian archive.

Every part speaks the protocol of the service that it stands in for, so that the real clients (pip, git,
docker, huggingface_hub, modelscope, apt) work with it unchanged.
"""
