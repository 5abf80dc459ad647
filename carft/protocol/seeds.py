"""Seeds of the searches of a study, and of its confirm cells."""

#: number of seeds of each search: the second search has those from 1000 on
SEED_BLOCK = 1000


def search_seed_of(first_seed: int, search: int) -> int:
    """The seed of the search cells of a search, counted from 1. ``first_seed``: that of the first search."""
    return first_seed + (search - 1) * SEED_BLOCK


def first_search_seed(search_seed: int, search: int) -> int:
    """The seed of the search cells of the first search. ``search_seed``: that of a search, counted from 1."""
    return search_seed - (search - 1) * SEED_BLOCK


def confirm_seeds(count: int, first_seed: int, search: int = 1) -> list[int]:
    """The seeds of the confirm cells of a search: the first ones of its block that are no search seed.

    They are the same for every task and method. A larger count keeps the seeds of a smaller one. No two searches share
    a seed.

    Args:
        count: Number of seeds.
        first_seed: Seed of the search cells of the first search.
        search: Position of the search, from 1.
    """
    taken = {search_seed_of(first_seed, other) for other in range(1, search + 1)}
    start = (search - 1) * SEED_BLOCK + 1
    seeds = []
    for seed in range(start, start + count + 1):
        if seed not in taken:
            seeds.append(seed)
    return seeds[:count]
