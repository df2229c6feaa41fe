# SPDX-License-Identifier: Apache-2.0
"""Faults of the durable log's own disk, file and directory: every sample arrives or is counted."""

import contextlib
import os
import random
import time

import pytest

from tests.functional import agent, disk
from tests.functional.driver import Place, keys
from tests.functional.ledger import accepted, confirm, settle, standing
from tests.services import faulty

BACKLOG = 4000
"""Samples; in batches of 100 more pages than SQLite keeps in a small cache."""


class Stores:
    """The other sides of a driver: one that is there all the time, and one to take away."""

    def __init__(self, directory):
        self.there = faulty.Server(confirm)
        self.away = faulty.Server(confirm)
        self.place = Place(
            directory,
            there={"url": f"{self.there.url}/s", "batch_size": 500},
            away={"url": f"{self.away.url}/s", "batch_size": 500},
        )

    def close(self):
        for server in (self.there, self.away):
            server.stop()

    @contextlib.contextmanager
    def outage(self):
        self.away.stop()
        yield
        self.away.start()

    def settle(self, counts):
        """Look at both accounts; return what never arrived at the one that was away."""
        offered = self.place.keys()
        assert settle("there", counts["there"], offered, self.there) == []
        return settle("away", counts["away"], offered, self.away)


@pytest.fixture
def stores(tmp_path):
    made = Stores(tmp_path)
    yield made
    made.close()


def idle(counts):
    """Nothing waits."""
    return not any(each.waiting for each in counts.values())


def kept_up(counts):
    """Nothing waits for the store that is there."""
    return not counts["there"].waiting


def offer_slowly(driver, count):
    """Offer so many samples, and let the store that is there keep up."""
    for _ in range(count // 1000):
        driver.offer(1000, 500)
        driver.until(kept_up)


# -- the disk ------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(stores):
    """A file system of 640 KiB for the log."""
    with disk.small(stores.place.spool_dir, "640k") as path:
        yield path


def fill_up(path, driver):
    """Fill a disk until the log cannot be written any more."""
    while not driver.place.is_full():
        filler = disk.fill(path)
        driver.offer(1000, 500)
        driver.until(kept_up)
    return filler


def test_a_backlog_that_fills_the_disk_goes_on_in_memory(stores, small_disk):
    with stores.place.driver() as driver:
        with stores.outage():
            # More than the disk holds: some 10 bytes a sample at least.
            offer_slowly(driver, 60_000)
            assert driver.counts()["away"].waiting == 60_000
            assert stores.place.is_full()
        driver.until(idle)
        driver.until(lambda _: not stores.place.is_full(), "it is not written again")
        driver.offer(1000)
        with stores.outage():
            driver.offer(1000)
            driver.until(kept_up)
        driver.until(idle)
        counts = driver.close()
    assert stores.settle(counts) == []
    with stores.place.driver() as driver:
        assert driver.close() == counts


def test_a_disk_that_was_full_gets_what_was_held_in_memory(stores, small_disk):
    with stores.outage(), stores.place.driver() as driver:
        driver.offer(1000)
        driver.until(kept_up)
        filler = fill_up(small_disk, driver)
        offer_slowly(driver, 2000)
        assert stores.place.is_full()
        filler.unlink()
        driver.offer(100)
        counts = driver.until(
            lambda now: kept_up(now) and not stores.place.is_full(), "it is not written"
        )
        assert counts["away"].waiting == len(stores.place.keys())
        driver.kill()
    with stores.place.driver() as driver:
        driver.until(idle)
        counts = driver.close()
    assert stores.settle(counts) == []


def test_an_end_with_a_full_disk_counts_what_it_could_not_write(stores, small_disk):
    with stores.outage():
        with stores.place.driver() as driver:
            driver.offer(1000)
            driver.until(kept_up)
            filler = fill_up(small_disk, driver)
            offer_slowly(driver, 2000)
            counts = driver.close()
        lost, end = counts["away"].dropped, len(stores.place.keys())
        assert 2000 <= lost < end
        filler.unlink()
    with stores.place.driver() as driver:
        driver.offer(500)
        driver.until(idle)
        after = driver.close()
    assert after["away"].dropped == lost
    assert stores.settle(after) == keys(range(end - lost, end)), "the last before the end"


def test_an_agent_begins_on_a_full_disk(stores, small_disk):
    filler = disk.fill(small_disk)
    with stores.place.driver() as driver:
        with stores.outage():
            driver.offer(2000)
            driver.until(kept_up)
            assert stores.place.is_full()
            filler.unlink()
            driver.until(lambda _: not stores.place.is_full(), "it is not written")
            driver.offer(1000)
        driver.until(idle)
        counts = driver.close()
    assert stores.settle(counts) == []


def test_what_is_refused_on_a_full_disk_is_not_lost_to_a_kill(stores, small_disk):
    stores.away.usual = faulty.status(400, b"no")
    stores.away.stop()
    with stores.place.driver() as driver:
        driver.offer(1000)
        driver.until(kept_up)
    with stores.place.driver() as driver:
        filler = disk.fill(small_disk)
        stores.away.start()
        counts = driver.until(lambda now: now["away"].set_aside == 1000)
        assert stores.place.is_full()
        driver.kill()
    filler.unlink()
    with stores.place.driver() as driver:
        driver.until(idle)
        after = driver.close()
    after["away"].tell("away")
    assert after == counts, "refused once more, and set aside"
    assert standing(stores.place.config) == counts


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_leftovers_that_the_disk_has_no_space_for_are_taken_over_later(stores, small_disk, end):
    place = stores.place
    stores.away.stop()
    for worker in range(2):
        with place.driver(worker) as driver:
            driver.offer(BACKLOG)
            driver.until(kept_up)
    filler = disk.fill(small_disk)
    # So much that the file can be opened, and none that it may grow by.
    os.truncate(filler, filler.stat().st_size - (128 << 10))
    with place.driver() as driver:
        assert left_over(place) == ["from-1"]
        if end == "killed":
            driver.kill()
    filler.unlink()
    with place.driver() as driver:
        assert left_over(place) == []
        assert driver.counts()["away"].waiting == 2 * BACKLOG
        stores.away.start()
        driver.until(idle)
        counts = driver.close()
    assert stores.settle(counts) == []


# -- the file ------------------------------------------------------------------------------------


def empty(path, chance):
    os.truncate(path, 0)


def cut_in_half(path, chance):
    os.truncate(path, path.stat().st_size // 2)


def cut_anywhere(path, chance):
    os.truncate(path, chance.randrange(path.stat().st_size))


def noise_all_over(path, chance):
    overwrite(path, 0, path.stat().st_size, chance)


def noise_in_the_middle(path, chance):
    size = path.stat().st_size
    overwrite(path, size // 3, size // 3, chance)


def noise_at_the_start(path, chance):
    overwrite(path, 0, 100, chance)


def noise_here_and_there(path, chance):
    size = path.stat().st_size
    for _ in range(20):
        overwrite(path, chance.randrange(size), chance.randrange(1, 64), chance)


def overwrite(path, begin, count, chance):
    """Put noise in the place of so many bytes; the file gets no longer."""
    count = min(count, path.stat().st_size - begin)
    with path.open("r+b", buffering=0) as file:
        file.seek(begin)
        file.write(chance.randbytes(count))


def long(*cases):
    return [pytest.param(case, marks=pytest.mark.long) for case in cases]


HARMS = [
    empty,
    cut_in_half,
    noise_all_over,
    noise_here_and_there,
    *long(cut_anywhere, noise_at_the_start, noise_in_the_middle),
]
SEEDS = [0, *long(*range(1, 10))]
TAKING_SECONDS = 0.1
"""What it takes about to take over the backlogs of three workers."""

FILE, NEWEST = "log.db", "log.db-wal"
"""The file, and SQLite's log of what is not in it yet."""


def harm(place, how, names, chance):
    """Damage files of the log."""
    for name in names:
        path = place.worker() / name
        assert path.stat().st_size
        how(path, chance)


def begin_backlog(stores):
    """Leave a backlog in the file for the store that is away; what came before it is delivered."""
    with stores.place.driver() as driver:
        driver.offer(1000)
        driver.until(idle)
        stores.away.stop()
        driver.offer(BACKLOG)
        driver.until(kept_up)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("names", [(FILE,), (NEWEST,)], ids=" ".join)
@pytest.mark.parametrize("how", HARMS)
def test_damage_while_it_runs_costs_only_what_is_counted(stores, how, names, seed):
    chance = random.Random(f"{how.__name__}-{names}-{seed}")
    begin_backlog(stores)
    with stores.place.driver() as driver:
        driver.offer(BACKLOG)
        driver.until(kept_up)
        harm(stores.place, how, names, chance)
        driver.offer(BACKLOG)
        driver.until(kept_up)
        stores.away.start()
        driver.until(idle)
        counts = driver.close()
    missing = stores.settle(counts)
    assert len(missing) == counts["away"].dropped
    assert_nothing_is_deleted(stores.place)
    with stores.place.driver() as driver:
        driver.offer(100)
        driver.until(idle)
        after = driver.close()
    assert stores.settle(after) == missing, "it works on as if nothing had been"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "names", [(FILE,), (NEWEST,), (FILE, NEWEST)], ids=["closed", "killed newest", "killed both"]
)
@pytest.mark.parametrize("how", HARMS)
def test_damage_between_two_runs_costs_only_what_is_counted(stores, how, names, seed):
    chance = random.Random(f"{how.__name__}-{names}-{seed}")
    begin_backlog(stores)
    if NEWEST in names:
        with stores.place.driver() as driver:
            driver.offer(BACKLOG)
            driver.until(kept_up)
            driver.kill()
    before = len(stores.place.keys())
    harm(stores.place, how, names, chance)
    with stores.place.driver() as driver:
        driver.offer(BACKLOG)
        driver.until(kept_up)
        stores.away.start()
        driver.until(idle)
        counts = driver.close()
    missing = stores.settle(counts)
    assert len(missing) == counts["away"].dropped
    waited = stores.place.keys()[1000:before]
    assert set(missing) <= set(waited), "what came later is whole"
    if how in {empty, noise_all_over}:
        assert missing == (waited[BACKLOG:] if names == (NEWEST,) else waited), "nothing was left"
    assert_nothing_is_deleted(stores.place)


def assert_nothing_is_deleted(place):
    """Look whether a file that was found damaged is still there, and is told of."""
    aside = sorted(place.worker().glob("log.db.*.damaged"))
    said = place.said()
    for path in aside:
        assert path.name in said
    done = agent.run("spool", "check", config=place.config, check=False)
    assert done.returncode == (1 if aside else 0), done.stdout
    assert [path for path in aside if str(path) not in done.stdout] == []


# -- the directories -----------------------------------------------------------------------------


def kill_amid(place, chance):
    """Start the one that takes over, and kill it while it does."""
    process = place.started()
    try:
        while place.holder() != process.pid:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(chance.uniform(0, TAKING_SECONDS))
    finally:
        process.kill()
        process.communicate()


def left_over(place):
    """Return the directories that are not taken over yet, by name."""
    found = [path for path in place.worker().parent.iterdir() if path != place.worker()]
    return sorted(path.name for path in (*found, *place.worker().glob("from-*")))


@pytest.mark.parametrize("rounds", [1, *long(20)])
def test_workers_are_lowered_from_four_to_one_with_backlogs(stores, rounds):
    chance = random.Random(rounds)
    place = stores.place
    for _ in range(rounds):
        stores.away.stop()
        for worker in range(4):
            with place.driver(worker) as driver:
                if worker == 2:
                    stores.away.start()
                    driver.offer(650)
                    driver.until(idle)
                    stores.away.stop()
                driver.offer(BACKLOG // 2, 10)
                driver.until(kept_up)
                if worker == 3:
                    driver.kill()
        assert left_over(place) == ["1", "2", "3"]
        # Whoever takes over may be killed at any moment of it.
        for _ in range(3):
            kill_amid(place, chance)
            print(f"killed while there was {' '.join(left_over(place)) or 'nothing more to take'}")
        with place.driver() as driver:
            counts = driver.until(kept_up)
            assert counts["away"].waiting == 4 * (BACKLOG // 2)
            assert left_over(place) == []
            stores.away.start()
            driver.offer(500)
            driver.until(idle)
    assert stores.settle(standing(place.config)) == []


# -- bounds --------------------------------------------------------------------------------------


def test_the_bound_of_samples_drops_the_oldest_and_counts_them(stores):
    with stores.place.driver(max_samples=1234) as driver:
        with stores.outage():
            offer_slowly(driver, 5000)
            assert driver.counts()["away"].waiting == 1234
        counts = driver.until(idle)
        driver.close()
    assert counts["away"].dropped == 5000 - 1234
    assert stores.settle(counts) == keys(range(5000 - 1234)), "the oldest"
    with stores.place.driver() as driver:
        assert driver.close() == counts, "over a restart"


def test_the_bound_of_bytes_drops_the_oldest_and_counts_them(stores):
    most = 1 << 18
    with stores.place.driver(max_bytes=most) as driver:
        with stores.outage():
            offer_slowly(driver, 40_000)
            counts = driver.counts()["away"]
            assert counts.dropped > 0
            # Ten to twenty bytes each.
            assert most // 20 < counts.waiting < most // 8
        counts = driver.until(idle)
        driver.close()
    dropped = counts["away"].dropped
    assert stores.settle(counts) == keys(range(dropped)), "the oldest"


def test_the_bound_of_age_drops_what_is_older_and_counts_it(stores):
    with stores.place.driver() as driver:
        with stores.outage():
            driver.offer(1000)
            driver.until(kept_up)
            began = driver.let_age(0.5)
            driver.let_age(0.5)
            driver.offer(500)
            driver.until(kept_up)
            assert driver.counts()["away"].dropped == 0
            agent.wait_until(
                lambda: driver.drop_older(began) or driver.counts()["away"].waiting < 1500,
                what="it does not look",
            )
            assert driver.counts()["away"].waiting == 500
        counts = driver.until(idle)
        driver.close()
    # The batch that was under way all the time may arrive after all.
    dropped = counts["away"].dropped
    assert dropped in (500, 1000)
    assert stores.settle(counts) == keys(range(1000 - dropped, 1000))
    assert accepted(stores.there) == keys(range(1500))
