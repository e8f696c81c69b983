"""A change of the driver that is killed anywhere, any number of times, comes to the same end as one that is not."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from tests.driver_node import NEW, OLD, Moment, Simulated, go, go_killed, wish

CODES = st.fixed_dictionaries({"driver": st.sampled_from([0, 1, 2]), "firmware": st.sampled_from([0, 1, 2])})
NODES = st.builds(
    Simulated,
    disk=st.sampled_from([{}, OLD, NEW, {**NEW, "driver": OLD["driver"]}, {"firmware": OLD["firmware"]}]).map(
        dict
    ),
    exit_codes=CODES,
    takes_effect=st.booleans(),
    clears_conf=st.booleans(),
    slow_boot=st.integers(0, 3),
    complete=st.booleans(),
)
MOMENTS: st.SearchStrategy[Moment] = st.sampled_from(["before", "in", "after"])
KILLS = st.lists(st.tuples(st.integers(0, 14), MOMENTS), max_size=4)


def begin(there: Simulated) -> Simulated:
    """What runs is what is on disk; where nothing is, nothing runs."""
    there.running = dict(there.disk)
    if "driver" not in there.disk:
        there.running = {}
        there.services, there.conf = (), None
    return there


def kinds(there: Simulated, *, once: bool = False) -> list[str]:
    """What was run on the node: driver, firmware, reboot."""
    ran = [entry.partition(" ")[0] for entry in there.ran]
    return list(dict.fromkeys(ran)) if once else ran


@given(NODES, KILLS, st.sampled_from(["rolling", "never"]))
def test_killed_anywhere_it_comes_to_the_same_end(
    there: Simulated, kills: list[tuple[int, Moment]], reboot: str
) -> None:
    wanted = wish(reboot=reboot)
    straight, killed = begin(deepcopy(there)), begin(deepcopy(there))
    end = go(straight, wanted)
    for number, (at, moment) in enumerate(kills):
        if go_killed(killed, wanted, at, moment, f"killed-{number}") is not None:
            break  # it came to its end before
    else:
        assert go(killed, wanted, fresh="last").reason == end.reason
        # An installer that failed is tried again by the next run.
        again = 1 in there.exit_codes.values()
        assert kinds(killed, once=again) == kinds(straight, once=again)
    if end.reason == "done":
        assert straight.disk == straight.running == NEW
        assert straight.stopped == set()


@given(NODES, KILLS)
def test_nothing_is_installed_twice_and_no_reboot_is_for_nothing(
    there: Simulated, kills: list[tuple[int, Moment]]
) -> None:
    there.exit_codes = {kind: code for kind, code in there.exit_codes.items() if code != 1}
    there.takes_effect = there.takes_effect or "driver" not in there.disk
    begin(there)
    before = dict(there.disk)
    for number, (at, moment) in enumerate(kills):
        go_killed(there, wish(), at, moment, f"killed-{number}")
    assert go(there, wish(), fresh="last").reason == "done"
    done = kinds(there)
    assert done.count("driver") <= 1
    assert done.count("firmware") <= 1
    asked = [kind for kind, code in there.exit_codes.items() if code == 2 and kind in done]
    replaced = [kind for kind in NEW if kind in done and before.get(kind) != NEW[kind]]
    assert ("reboot" in done) == bool(asked or (replaced and not there.takes_effect))
    assert done.count("reboot") <= 2
    ran = list(there.ran)
    assert go(there, wish(), fresh="again").reason == "done"
    assert there.ran == ran
