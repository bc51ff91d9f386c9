"""Decides whether a lease is still valid, even if clocks differ a little or are set back."""

# The clocks of two holders may differ by this fraction of a lease's length.
SKEW = 0.1


def is_running(until: float, seconds: float, *, before: float, after: float) -> bool:
    """Return whether a lease that ends at `until` is still valid.

    A lease that ends later than now plus its length was written before the clock was set back. It
    would stay valid too long after its holder's death, so it counts as expired. A holder that is
    alive renews it.

    Args:
        until: The end of the lease.
        seconds: The length of the lease.
        before: A time before the lease was read. A lease that had expired by then had also expired
            when it was read.
        after: A time after the lease was read. The lease may have been renewed just before it was
            read, so its latest possible end is counted from here.
    """
    return before < until <= after + seconds * (1 + SKEW)
