"""An image of a layer with a seed's uploads."""

from __future__ import annotations

import hashlib
import json

from tasks.core.images.seed_image import Layer, image_of


def test_an_image_is_of_one_layer_that_is_not_compressed() -> None:
    layer = Layer("sha256:" + "ab" * 32, 4711)
    image = image_of(layer)
    config, found = image.config, json.loads(image.manifest)
    assert image.digest == f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"
    assert found["config"]["digest"] == f"sha256:{hashlib.sha256(config).hexdigest()}"
    assert found["config"]["size"] == len(config)
    assert [(each["digest"], each["size"]) for each in found["layers"]] == [(layer.digest, 4711)]
    # What is in it is what it is stored as.
    assert json.loads(config)["rootfs"]["diff_ids"] == [layer.digest]
    assert image_of(layer) == image
