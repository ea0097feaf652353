"""Scikit-learn's 1,797 handwritten digits as a TFDS data set, without network or TensorFlow.

Nouns: `LayupDigits`. Importing this module registers the builder with TFDS.

    builder = LayupDigits(data_dir=path, file_format="array_record")
    builder.download_and_prepare()
    builder.as_data_source("train")[0]  # {"image": float32 (8, 8, 1), "label": 4}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

_TEST_STRIDE = 5


class LayupDigits(tfds.core.GeneratorBasedBuilder):
    """Real 8x8 images of handwritten digits, 1,437 to train and 360 to test.

    Every fifth image of scikit-learn's order is a test image, so the division never changes and
    holds all ten classes about equally. Images are stored as float32 in [0, 1] (the original 0..16
    over 16, exact), because a uint8 image would be taken for 0..255.

    References:
      E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits. UCI, 1998.
    """

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded, so there are no checksums; to look for them TFDS imports
    # importlib_resources, which it does not install.
    url_infos = None

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Handwritten digits of scikit-learn, 8x8 grey, ten classes.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.float32),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        del dl_manager  # the images come with scikit-learn
        return {
            "train": self._generate_examples(is_test=False),
            "test": self._generate_examples(is_test=True),
        }

    def _generate_examples(self, is_test: bool) -> Iterator[tuple[int, dict]]:
        from sklearn.datasets import load_digits  # 1.5 s, and only the first preparation pays it

        pixels, labels = load_digits(return_X_y=True)
        images = (np.reshape(pixels, (-1, 8, 8, 1)) / 16).astype(np.float32)
        for index, label in enumerate(labels):
            if (index % _TEST_STRIDE == 0) == is_test:
                yield index, {"image": images[index], "label": int(label)}
