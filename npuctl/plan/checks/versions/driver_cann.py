"""Driver and CANN: refused by a rule, or in no published table."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl.plan.checks.versions._stack import Stack
from npuctl.plan.compatibility import Refusal, compatibility, on_any_line
from npuctl.plan.model import Finding


def driver_fits_cann(stack: Stack) -> Iterator[Finding]:
    """The pair that a published rule refuses."""
    rule = _refusal(stack)
    if rule is not None:
        yield Finding(
            id="version.driver_cann",
            severity="error",
            node=stack.node.name,
            seen=stack.pair,
            expected=f"driver {_listed(stack) or f'{rule.below} or later'}: {rule.reason}"
            f" (rule {rule.rule}; source: {rule.source})",
            remedy="update driver and firmware on this node, or choose a release whose CANN fits the driver",
            service=stack.service.name,
        )


def pair_is_listed(stack: Stack) -> Iterator[Finding]:
    """The pair that is in no published table: nobody promised that it runs."""
    if not stack.driver or not stack.canns or not stack.product or _refusal(stack) is not None:
        return
    known = compatibility()
    rows = [row for cann in stack.canns for row in known.partners(cann, stack.product)]
    if any(on_any_line(stack.driver, row.drivers) for row in rows):
        return
    reports = (known.report(cann, stack.driver, stack.product) for cann in stack.canns)
    report = next((found for found in reports if found), None)
    sources = "; ".join(dict.fromkeys(row.source for row in rows))
    yield Finding(
        id="version.unlisted",
        severity="warning",
        node=stack.node.name,
        seen=f"{stack.pair}: in no published table"
        + (f", but reported to run ({report.source})" if report else ""),
        expected=f"driver {_listed(stack)} (source: {sources})"
        if rows
        else "a CANN that is in a published table",
        remedy="try it with one replica first, or install a driver that is listed",
        service=stack.service.name,
    )


def _listed(stack: Stack) -> str:
    """The drivers that tables name with the CANN, as a finding shows them."""
    rows = (row for cann in stack.canns for row in compatibility().partners(cann, stack.product))
    return ", ".join(dict.fromkeys(name for row in rows for name in row.drivers))


def _refusal(stack: Stack) -> Refusal | None:
    """The rule that refuses the pair, whichever CANN it is."""
    if not stack.driver or not stack.canns:
        return None
    rules = [compatibility().refusal(cann, stack.driver, stack.product) for cann in stack.canns]
    return rules[0] if all(rules) else None
