"""MODALITIES: every kind of signal by name. A new one is one file here and one line in this table."""

from sslx.modalities.image import IMAGE
from sslx.modalities.sound import SOUND
from sslx.modalities.text import TEXT
from sslx.modalities.video import VIDEO
from sslx.types import Modality

MODALITIES: dict[str, Modality] = {modality.name: modality for modality in (IMAGE, SOUND, TEXT, VIDEO)}
