"""What a model sees of what is stored: augmented to train, plain to test, always Batch's dtypes.

Nouns: `View`.

    view = View(SampleForm(augment="crop_flip", normalize="cifar10"), seed=0, rank=rank)
    view.to_train(images_uint8, number=17)  # float32, the same for the same batch number
    view.to_test(images_uint8)              # float32, neither cropped nor flipped
"""

from __future__ import annotations

import numpy as np

from layup_jax.data.augment import crops
from layup_jax.data.batch import Batch, as_inputs
from layup_jax.data.form import SampleForm
from layup_jax.data.mixup import mixed
from layup_jax.data.normalization import PUBLISHED
from layup_jax.data.resize import Images, centre_crops, resized_crops
from layup_jax.errors import DataError

# Keep these draws apart, also from those of `Shard.order`, which come from (seed, rank, epoch).
_STREAM = 0xA06
_MIXUP_STREAM = 0xA07


class View:
    """How one worker's model sees inputs; pure, so that any thread may make any batch.

    Attributes:
      resizes: whether inputs of several shapes are brought to one.
      is_costly: whether a batch takes so long that it is better made ahead.
    """

    def __init__(
        self, form: SampleForm, seed: int = 0, rank: int = 0, num_classes: int | None = None
    ) -> None:
        """Draws from `seed`, `rank` and the number of a batch; mixup needs the number of classes."""
        self.resizes = form.augment == "resized_crop"
        self.is_costly = form.augment != "none"
        self._form = form
        self._normalize = PUBLISHED.get(form.normalize, as_inputs)
        self._key = (seed, rank)
        self._num_classes = num_classes

    def batch_to_train(self, inputs: Images, labels: np.ndarray, number: int) -> Batch:
        """Batch `number` of inputs and int32 labels, which mixup turns into probabilities."""
        batch = Batch(self.to_train(inputs, number), labels)
        if not self._form.mixup:
            return batch
        assert self._num_classes is not None
        rng = np.random.default_rng((*self._key, number, _MIXUP_STREAM))
        return mixed(batch, self._form.mixup, num_classes=self._num_classes, rng=rng)

    def to_train(self, inputs: Images, number: int) -> np.ndarray:
        """Inputs of batch `number`, as many and in the same order."""
        form = self._form
        if form.augment == "none":
            return self._normalize(np.asarray(inputs))
        rng = np.random.default_rng((*self._key, number, _STREAM))
        if self.resizes:
            return self._normalize(resized_crops(inputs, form.image_size, rng))
        flips = form.augment == "crop_flip"
        moved = crops(np.asarray(inputs), rng, padding=form.crop_padding, flips=flips)
        return self._normalize(moved)

    def to_test(self, inputs: Images) -> np.ndarray:
        """The same inputs as they are evaluated: resized if they are to be, never random."""
        if self.resizes:
            return self._normalize(centre_crops(inputs, self._form.image_size))
        return self._normalize(np.asarray(inputs))

    def check(self, sample: np.ndarray, what: str) -> None:
        """Raises if inputs like one sample cannot be seen so.

        Args:
          sample: one input, as stored.
          what: the data set, for the message.

        Raises:
          DataError: not an image, of another dtype than uint8 where it is resized, or with other
            channels than the constants of normalisation.
        """
        form, found = self._form, f"{sample.dtype} {sample.shape}"
        if self.is_costly and sample.ndim != 3:
            raise DataError(
                f"augment '{form.augment}' needs images (height, width, channels), got {found} in "
                f"{what}; use augment=none"
            )
        if self.resizes and (sample.dtype != np.uint8 or sample.shape[-1] not in (1, 3)):
            raise DataError(
                "augment 'resized_crop' needs uint8 images of 1 or 3 channels, "
                f"got {found} in {what}; use another augment"
            )
        if form.normalize != "none" and (sample.ndim != 3 or sample.shape[-1] != 3):
            raise DataError(
                f"normalize '{form.normalize}' needs images of 3 channels, got {found} in {what}; "
                "use normalize=none"
            )
