"""The table beside the vectors, in every format."""

from collections.abc import Mapping
from typing import Any

Metadata = Mapping[str, Any]

# Column -> what .npz calls it.
COLUMNS = {"name": "names", "contig": "contigs", "start": "starts", "end": "ends", "strand": "strand"}
