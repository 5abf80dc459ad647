"""The memory allocator of the C library, which holds tensors on the CPU."""

import ctypes

#: parameters of glibc's ``mallopt`` (malloc.h)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
#: bytes that the heap grows by at once
GROWTH = 2**28
#: the largest value that a parameter takes
LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its next tensors. Returns whether the C library can do that.

    Else glibc gives large blocks back to the system at once, and each new one is filled with zeros, page by page: a
    third of the CPU time of training a small model. Values of tensors stay the same. Without glibc nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return False
    accepted = [mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, LARGEST), mallopt(M_TOP_PAD, GROWTH)]
    return all(accepted)
