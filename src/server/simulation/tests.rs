//! Seeds that hold, and faults that do not.

use super::faults::Planted;
use super::invariants::{
    self, ChangesStay, EverythingIsAnswered, ImageEqualsReplay, Invariant, MonotoneHighWatermark,
    NothingAcknowledgedLost, NothingDoubledOrReordered, OneOwner, PositionsStay, ReadsStay, StartsAgain,
};
use super::world::World;

/// Seeds without a word from the environment.
const SEEDS: u64 = 1_000;
/// Seeds within which a planted fault must show.
const SEEDS_OF_A_FAULT: u64 = 40;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap())
}

/// `SCHLOSS_SIM_SEEDS=100000` lives that many; `SCHLOSS_SIM_SEED=7` lives one and prints what happened.
#[test]
fn whatever_happens_the_promises_hold() {
    if let Some(seed) = number("SCHLOSS_SIM_SEED") {
        let run = World::run(seed, None, invariants::all());
        print!("{}", run.events);
        assert_eq!(run.violation, None);
        return;
    }
    let seeds = number("SCHLOSS_SIM_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let run = std::panic::catch_unwind(|| World::run(seed, None, invariants::all()));
                    match run.map(|run| run.violation) {
                        Ok(None) => {}
                        Ok(Some(violation)) => panic!("SCHLOSS_SIM_SEED={seed}: {violation}"),
                        Err(_) => panic!("SCHLOSS_SIM_SEED={seed} panics"),
                    }
                }
            });
        }
    });
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| World::run(seed, None, invariants::all()).events);
        assert_eq!(one, other, "seed {seed}");
        assert!(one.lines().count() > 100);
    }
}

/// The fault breaks this promise, seen by nobody else.
#[track_caller]
fn breaks<I: Invariant + 'static>(planted: Planted, invariant: fn() -> I, name: &str) {
    let broken = (0..SEEDS_OF_A_FAULT).find_map(|seed| {
        let run = World::run(seed, Some(planted), vec![Box::new(invariant())]);
        run.violation
    });
    assert_eq!(broken.map(|violation| violation.of), Some(name), "{planted:?} is not noticed");
}

#[test]
fn a_lost_acknowledged_record_is_noticed() {
    breaks(Planted::DroppedDataSync, NothingAcknowledgedLost::default, "NothingAcknowledgedLost");
}

#[test]
fn a_doubled_record_is_noticed() {
    breaks(Planted::NoSequences, || NothingDoubledOrReordered, "NothingDoubledOrReordered");
}

#[test]
fn a_record_that_is_another_now_is_noticed() {
    breaks(Planted::DroppedDataSync, ReadsStay::default, "ReadsStay");
}

#[test]
fn a_high_watermark_that_moves_back_is_noticed() {
    breaks(Planted::DroppedDataSync, MonotoneHighWatermark::default, "MonotoneHighWatermark");
}

#[test]
fn a_generation_that_is_given_out_twice_is_noticed() {
    breaks(Planted::DroppedDataSync, OneOwner::default, "OneOwner");
}

#[test]
fn a_lost_position_is_noticed() {
    breaks(Planted::DroppedDataSync, PositionsStay::default, "PositionsStay");
}

#[test]
fn a_lost_change_is_noticed() {
    breaks(Planted::DroppedMetadataSync, ChangesStay::default, "ChangesStay");
}

#[test]
fn an_image_that_the_log_does_not_tell_is_noticed() {
    breaks(Planted::UnloggedRecord, || ImageEqualsReplay, "ImageEqualsReplay");
}

#[test]
fn a_broker_that_can_t_start_is_noticed() {
    breaks(Planted::DamagedQuorumState, || StartsAgain, "StartsAgain");
}

#[test]
fn a_producer_that_waits_for_ever_is_noticed() {
    breaks(Planted::DeafLanes, || EverythingIsAnswered, "EverythingIsAnswered");
}

/// Runs do not pass because nothing happens in them.
#[test]
fn the_runs_see_everything() {
    const HAPPENS: [&str; 18] = [
        "acknowledged",
        "not written",
        "read through",
        "power lost, some of what was not synced is there: true",
        "power lost, some of what was not synced is there: false",
        "killed",
        "stops",
        "the fault happened",
        "not started",
        "the wall clock is",
        "snapshot written: true",
        "compacted up to",
        "generation 2",
        "falls silent",
        "position of",
        "deletion of",
        "change of credential of u0: Done",
        "change of topic t0: Done",
    ];
    let mut missing: Vec<&str> = HAPPENS.to_vec();
    for seed in 0..60 {
        let events = World::run(seed, None, invariants::all()).events;
        missing.retain(|happens| !events.contains(happens));
    }
    assert!(missing.is_empty(), "{missing:?}");
}
