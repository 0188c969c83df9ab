"""What all commands share: options, configuration, errors and exit codes, progress, shipped files; and fansr-cat.

Knows streams and how expressions are printed, and nothing of what the commands do.  Begin with command.py.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
