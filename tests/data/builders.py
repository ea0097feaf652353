"""TFDS builders of small data sets, written to real files."""

import tensorflow_datasets as tfds


def builder_class(
    class_name, features, examples, supervised_keys=("pixels", "class"), test=(), ordered=False
):
    """A TFDS builder that TFDS's register does not know, as if its code were elsewhere."""

    def info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=supervised_keys,
            disable_shuffling=ordered,
        )

    splits = {"train": examples, **({"test": test} if test else {})}
    members = {
        "VERSION": tfds.core.Version("2.1.0"),
        "url_infos": None,
        "_info": info,
        "_split_generators": lambda self, _: {
            split: iter(enumerate(each)) for split, each in splits.items()
        },
        "_generate_examples": lambda self: None,
    }
    with tfds.core.registered.skip_registration():
        return type(class_name, (tfds.core.GeneratorBasedBuilder,), members)


def prepared(folder, *builders):
    """The folder, with data sets in it."""
    for builder in builders:
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder
