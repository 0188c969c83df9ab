"""Records and the files they travel in: zstd frames over msgpack maps, checked from header to end mark.

Knows nothing of expressions, laws or commands.  Begin with records.py (what a record of each kind holds), then
packing.py (a record as bytes), files.py (a file's plain bytes), reader_writer.py (a stream of records), parallel.py
(an ordered map over worker processes) and seeds.py (random numbers that depend on the record alone).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
