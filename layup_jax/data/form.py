"""How records become samples: tokens of text, augmentation of images.

Nouns: `SampleForm`; `DEFAULT_FORM` where nothing is asked for.

    form = SampleForm(context=128, tokenizer="tokenizer.json")     # of text
    form = SampleForm(augment="crop_flip", normalize="cifar10")    # of images
    make_loader(LoaderSpec("cifar10", form=form))
"""

from __future__ import annotations

from dataclasses import dataclass

from layup_jax.data.normalization import PUBLISHED
from layup_jax.errors import ConfigError, nearest

AUGMENTATIONS = ("none", "crop", "crop_flip", "resized_crop")


@dataclass(frozen=True)
class SampleForm:
    """How records become samples; a data set of text ignores what is of images, and vice versa.

    Attributes:
      context: tokens in a sample of text, at least 1.
      tokenizer: "bytes", or the path of a file of the tokenizers library.
      augment: none | crop | crop_flip | resized_crop; of images, to train.
      crop_padding: zeros on every side of an image before crop and crop_flip, at least 1.
      image_size: height and width that resized_crop gives, at least 1; to test, it is those of the
        centre crop.
      normalize: none, or the data set whose published mean and deviation of each channel are used.
      mixup: alpha of `layup_jax.data.mixup`, of images, to train; 0 mixes nothing. Text refuses it.
    """

    context: int = 256
    tokenizer: str = "bytes"
    augment: str = "none"
    crop_padding: int = 4
    image_size: int = 224
    normalize: str = "none"
    mixup: float = 0.0

    def __post_init__(self) -> None:
        """Raises ConfigError if a number is out of range or a name unknown."""
        for field in ("context", "crop_padding", "image_size"):
            value = getattr(self, field)
            if value < 1:
                raise ConfigError(f"{field} must be at least 1, got {value}; raise it.")
        if not self.mixup >= 0:
            raise ConfigError(f"mixup must be at least 0, got {self.mixup}; use 0 for none.")
        for field, known in (("augment", AUGMENTATIONS), ("normalize", ("none", *PUBLISHED))):
            value = getattr(self, field)
            if value not in known:
                raise ConfigError(f"unknown {field} '{value}'; {nearest(value, known)}")


DEFAULT_FORM = SampleForm()
