"""What code reads of the provenance of a session or a run; the rest of it is for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from srm_explorer.engine.session.codec import Text, Whole


@dataclass(frozen=True)
class ModelOrigin:
    """The model that was run."""

    source: Text
    weights_sha256: Text


@dataclass(frozen=True)
class Provenance:
    """Where a run was made, read by `read_record`.

    Attributes:
        threads: of the processor, which decide how sums are split.
        inputs: hashes of what was read, by name.
        base: the folder that relative paths started from; empty where it was not noted.
        versions: of Python and the packages a result depends on.
    """

    model: ModelOrigin
    threads: Whole
    inputs: Mapping[Text, Text]
    base: Text = ""
    device: Text = ""
    versions: Mapping[Text, Text] = field(default_factory=dict[str, str])
