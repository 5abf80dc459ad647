"""The memory allocator of the C library, which holds tensors on the CPU."""

import ctypes

#: parameters of glibc's ``mallopt`` (malloc.h)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
#: bytes that the heap grows by at once
GROWTH = 2**28
#: the largest value that a parameter takes
LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed memory in this process and use it for the next tensors. Returns False if the C library is not glibc.

    By default glibc returns large blocks to the system, which fills each new block with zeros, page by page. The values
    of tensors do not change.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return False
    accepted = [mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, LARGEST), mallopt(M_TOP_PAD, GROWTH)]
    return all(accepted)
