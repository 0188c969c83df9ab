"""A file or arrays as problems: loading.py reads, checks, names columns and reports what it left out.

text_files.py unpacks and decodes, csv_reader.py cuts text into columns, frames.py reads spreadsheets, parquet and JSON, arrays.py
takes what is in memory; cells.py and dates.py make numbers of cells; columns.py holds the table and what is chosen of it; made_columns.py and local_slopes.py add columns.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
