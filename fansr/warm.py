"""Compile every numba kernel into its cache on disk, so that no user waits for it: `python -m fansr.warm`."""

import time

from fansr.cli import kernels


def main() -> None:
    """Compile what is not compiled yet and say how long it took."""
    begin = time.process_time()
    files = kernels.ensure(*kernels.KINDS)
    print(f"kernels ready: {files} files compiled in {time.process_time() - begin:.1f} s of processor time")


if __name__ == "__main__":
    main()
