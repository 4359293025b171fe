"""The rule by which tenants share a bounded resource: a tenant may hold as much as is then free.

These are dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
1998, https://doi.org/10.1109/90.664262). One tenant alone gets half of the resource, two get a third each, and there is
always some left for one more. Memory, active and waiting workflows, and connections are shared so.
"""


def may_hold(amount: int, free: int) -> bool:
    """Return whether a tenant may hold *amount* while *free* is free. *amount* includes what it requests."""
    return amount <= max(free, 0)


def units_left(held: int, free: int) -> int:
    """Return how many more units a tenant that holds *held* may take one by one, while *free* units are free."""
    # Each unit leaves less for the next one. It may take the k-th if held + k <= free - (k - 1).
    return max((free - held + 1) // 2, 0)
