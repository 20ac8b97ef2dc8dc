"""Conversion of existing models: every ReLU becomes a Softplus, or the other way round."""

from softplus.convert.conversion import Conversion, convert
from softplus.convert.sites import Site, find_sites

__all__ = ["Conversion", "Site", "convert", "find_sites"]
