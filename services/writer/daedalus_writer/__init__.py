"""The writer: JetStream into Parquet segments."""

import os

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""Before pyarrow is imported. Arrow then shares its memory with Python: a writer that commits an hour of order books peaks
at 135 MB and not at 171, for the same CPU."""
