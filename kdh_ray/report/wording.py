"""Words that several parts of a report share."""


def signed(points: float) -> str:
    """Return percentage points with a sign and one decimal; without a sign where they round to zero."""
    return f"{points:+.1f}" if abs(points) >= 0.05 else "0.0"


def plural(n: int, noun: str) -> str:
    """Return ``1 seed``, ``3 seeds``."""
    return f"1 {noun}" if n == 1 else f"{n} {noun}s"


def left_out(n: int, why: str, verb: str = "shown") -> str:
    """Return a sentence that says how many methods are not shown, such as those with lower scores; empty if all are."""
    return f" {plural(n, 'method')} with {why} {'is' if n == 1 else 'are'} not {verb}." if n else ""
