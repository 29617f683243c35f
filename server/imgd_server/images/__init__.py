"""What images mean: describing stored content as an image, looking images up and into them."""

from imgd_server.images._check import Problem, check_store
from imgd_server.images._describe import (
    MAX_INDEX_DEPTH,
    MAX_MANIFESTS,
    Description,
    children,
    describe,
)
from imgd_server.images._inspect import Inspection, inspect
from imgd_server.images._lookup import find_image, new_uid

__all__ = [
    "MAX_INDEX_DEPTH",
    "MAX_MANIFESTS",
    "Description",
    "Inspection",
    "Problem",
    "check_store",
    "children",
    "describe",
    "find_image",
    "inspect",
    "new_uid",
]
