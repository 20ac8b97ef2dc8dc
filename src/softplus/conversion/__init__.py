"""Conversion of existing models: every ReLU becomes a Softplus, or the other way round."""

from softplus.conversion.conversion import Conversion, convert
from softplus.conversion.finding import find_sites
from softplus.conversion.sites import Site

__all__ = ["Conversion", "Site", "convert", "find_sites"]
