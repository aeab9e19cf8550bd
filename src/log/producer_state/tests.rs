use super::*;
use crate::log::storage::{FaultyDisk, Open};
use crate::model::principal::KafkaPrincipal;

const CLIENT: AppendOrigin = AppendOrigin::Client;

fn state(disk: &FaultyDisk) -> ProducerState {
    ProducerState::new(Arc::new(disk.clone()), Path::new("/"), 1000, 100).unwrap()
}

fn batch(producer_id: i64, epoch: i16, sequence: i32, records: i32, offset: i64) -> ProducerBatch {
    ProducerBatch {
        producer_id,
        producer_epoch: epoch,
        base_sequence: sequence,
        last_sequence: sequence.wrapping_add(records - 1) & i32::MAX,
        max_timestamp: offset,
        first_offset: offset,
        last_offset: offset + i64::from(records) - 1,
        is_transactional: false,
        is_control: false,
        marker: None,
        owner: Owner::NOBODY,
    }
}

fn transactional(producer_id: i64, sequence: i32, offset: i64) -> ProducerBatch {
    ProducerBatch { is_transactional: true, ..batch(producer_id, 0, sequence, 1, offset) }
}

fn marker(producer_id: i64, offset: i64, committed: bool) -> ProducerBatch {
    ProducerBatch {
        base_sequence: -1,
        last_sequence: -1,
        is_control: true,
        marker: Some(EndTxnMarker { committed, coordinator_epoch: 3 }),
        ..transactional(producer_id, 0, offset)
    }
}

fn append(state: &mut ProducerState, batch: &ProducerBatch) -> Result<Option<i64>, ErrorCode> {
    match state.check(batch, CLIENT) {
        Ok(Some(known)) => Ok(Some(known.first_offset())),
        Ok(None) => {
            if let Some(completed) = state.apply(batch) {
                state.complete(&completed);
            }
            state.set_map_end_offset(batch.last_offset + 1);
            Ok(None)
        }
        Err(error) => Err(error.code()),
    }
}

#[test]
fn five_batches_are_answered_again_and_gaps_refused() {
    let mut state = state(&FaultyDisk::new());
    for n in 0..6 {
        assert_eq!(append(&mut state, &batch(1, 0, n * 2, 2, i64::from(n) * 10)), Ok(None));
    }
    for n in 1..6 {
        assert_eq!(append(&mut state, &batch(1, 0, n * 2, 2, 99)), Ok(Some(i64::from(n) * 10)), "batch {n}");
    }
    let out_of_order = Err(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(append(&mut state, &batch(1, 0, 0, 2, 99)), out_of_order, "the sixth back is forgotten");
    assert_eq!(append(&mut state, &batch(1, 0, 13, 1, 99)), out_of_order);
    assert_eq!(append(&mut state, &batch(1, 0, 10, 1, 99)), out_of_order, "half of a known batch");
    assert_eq!(append(&mut state, &batch(1, 0, 12, 1, 60)), Ok(None));
}

#[test]
fn epochs_fence() {
    let mut state = state(&FaultyDisk::new());
    assert_eq!(append(&mut state, &batch(1, 5, 42, 1, 0)), Ok(None), "an unknown producer may begin anywhere");
    assert_eq!(append(&mut state, &batch(1, 4, 43, 1, 1)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(append(&mut state, &batch(1, 6, 43, 1, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(append(&mut state, &batch(1, 6, 0, 1, 1)), Ok(None));
    assert_eq!(append(&mut state, &batch(1, 5, 42, 1, 2)), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(state.check(&batch(1, 5, 9, 1, 2), AppendOrigin::Replication), Ok(None));
}

#[test]
fn sequences_wrap() {
    let mut state = state(&FaultyDisk::new());
    let last = batch(1, 0, i32::MAX - 1, 4, 0);
    assert_eq!(last.last_sequence, 1);
    assert_eq!(append(&mut state, &last), Ok(None));
    assert_eq!(append(&mut state, &last), Ok(Some(0)));
    assert_eq!(append(&mut state, &batch(1, 0, 2, 1, 4)), Ok(None));
    assert_eq!(append(&mut state, &batch(2, 0, i32::MAX, 1, 5)), Ok(None));
    assert_eq!(append(&mut state, &batch(2, 0, 0, 1, 6)), Ok(None));
}

#[test]
fn transactions_hold_back_the_stable_offset_until_their_marker_is_replicated() {
    let mut state = state(&FaultyDisk::new());
    assert_eq!(state.first_unstable_offset(), None);
    append(&mut state, &transactional(1, 0, 5)).unwrap();
    append(&mut state, &transactional(2, 0, 6)).unwrap();
    assert_eq!(append(&mut state, &batch(1, 0, 1, 1, 7)), Err(ErrorCode::InvalidTxnState));
    assert_eq!(state.first_unstable_offset(), Some(5));
    let end = state.apply(&marker(1, 7, false)).unwrap();
    assert_eq!(end, CompletedTxn { producer_id: 1, first_offset: 5, last_offset: 7, is_aborted: true });
    assert_eq!(state.last_stable_offset_after(&end), 6);
    state.complete(&end);
    assert_eq!(state.first_unstable_offset(), Some(5));
    state.high_watermark_moved(7);
    assert_eq!(state.first_unstable_offset(), Some(5), "the marker itself is not below 7");
    state.high_watermark_moved(8);
    assert_eq!(state.first_unstable_offset(), Some(6));
    append(&mut state, &marker(2, 8, true)).unwrap();
    state.high_watermark_moved(9);
    assert_eq!(state.first_unstable_offset(), None);
    assert_eq!(append(&mut state, &transactional(1, 1, 9)), Ok(None), "the sequence goes on");
    let fenced =
        ProducerBatch { marker: Some(EndTxnMarker { committed: true, coordinator_epoch: 2 }), ..marker(1, 10, true) };
    assert_eq!(append(&mut state, &fenced), Err(ErrorCode::TransactionCoordinatorFenced));
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(&String::from_iter(two), 16).unwrap()).collect()
}

/// As Apache Kafka 4.3.1 wrote it: an idempotent producer, and a transactional one after an abort.
#[test]
fn a_snapshot_has_kafkas_bytes() {
    let kafkas = hex("0001 7ce57697 00000002
         0000000000000000 0000 00000004 0000000000000004 00000000 000001a208afad98 ffffffff ffffffffffffffff
         0000000000000001 0002 ffffffff ffffffffffffffff 00000000 000001a208afb0d4 00000000 ffffffffffffffff");
    let entries = snapshot::decode(&kafkas).unwrap();
    assert_eq!((entries[0].last_sequence(), entries[0].last_batch().unwrap().last_offset), (4, 4));
    assert_eq!((entries[1].producer_epoch, entries[1].coordinator_epoch, entries[1].last_batch()), (2, 0, None));
    assert_eq!(snapshot::encode(&entries.iter().collect::<Vec<_>>()), kafkas);
    assert_eq!(snapshot::encode(&[]), hex("0001 48674bc7 00000000"));
    for cut in 0..kafkas.len() {
        assert_eq!(snapshot::decode(&kafkas[..cut]), None);
        let mut flipped = kafkas.clone();
        flipped[cut] ^= 0x10;
        assert_eq!(snapshot::decode(&flipped), None, "flipped byte {cut}");
    }
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before() {
    let disk = FaultyDisk::new();
    let mut before = state(&disk);
    append(&mut before, &batch(1, 0, 0, 5, 0)).unwrap();
    before.take_snapshot().unwrap().unwrap();
    assert_eq!(before.take_snapshot().unwrap(), None, "there is one at this offset");
    append(&mut before, &transactional(2, 0, 5)).unwrap();
    let newest = before.take_snapshot().unwrap().unwrap();

    let mut after = state(&disk);
    after.truncate_and_reload(0, 100, Wall(0)).unwrap();
    assert_eq!((after.map_end_offset(), after.first_unstable_offset()), (6, Some(5)));

    disk.open(&newest, Open::ReadWrite).unwrap().write_all(&[b"x"], 20).unwrap();
    let mut after = state(&disk);
    after.truncate_and_reload(0, 100, Wall(0)).unwrap();
    assert_eq!((after.map_end_offset(), after.entries().len()), (5, 1));
    assert_eq!(append(&mut after, &batch(1, 0, 0, 5, 99)), Ok(Some(0)));
    assert_eq!(after.latest_snapshot(), Some(5));

    let mut expired = state(&disk);
    expired.truncate_and_reload(0, 100, Wall(10_000)).unwrap();
    assert!(expired.is_empty());
    after.truncate_and_reload(5, 100, Wall(0)).unwrap();
    assert_eq!((after.map_end_offset(), after.latest_snapshot()), (5, None), "what lies before the log is removed");
}

#[test]
fn stray_snapshots_go_but_the_newest_past_the_segments_stays() {
    let disk = FaultyDisk::new();
    for offset in [0, 5, 10, 20, 30] {
        disk.open(Path::new(&format!("/{offset:020}.snapshot")), Open::CREATE).unwrap();
    }
    let mut state = state(&disk);
    state.remove_stray_snapshots(&[0, 10]).unwrap();
    let names: Vec<String> = disk.list(Path::new("/")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [0, 10, 30].map(|offset| format!("{offset:020}.snapshot")));
    state.put_snapshot_aside(10).unwrap().unwrap();
    assert!(disk.exists(Path::new("/00000000000000000010.snapshot.deleted")).unwrap());
}

#[test]
fn the_table_is_bounded_and_ages() {
    let disk = FaultyDisk::new();
    let mut state = ProducerState::new(Arc::new(disk), Path::new("/"), 1000, 32).unwrap();
    append(&mut state, &transactional(7000, 0, 0)).unwrap();
    for n in 1..100 {
        append(&mut state, &batch(n, 0, 0, 1, n)).unwrap();
        assert!(state.entries().len() <= 32);
    }
    assert!(state.get(7000).is_some(), "a producer in a transaction stays");
    assert!(state.get(99).is_some() && state.get(1).is_none());
    state.remove_expired(Wall(1095));
    assert_eq!(state.entries().len(), 1 + 4);
}

/// Whoever makes producers without end pushes out his own.
#[test]
fn nobody_is_forgotten_because_of_somebody_else() {
    let (alice, mallory) = (Owner::of(&KafkaPrincipal::user("alice")), Owner::of(&KafkaPrincipal::user("mallory")));
    let mut state = ProducerState::new(Arc::new(FaultyDisk::new()), Path::new("/"), i64::MAX, 32).unwrap();
    for n in 0..4 {
        state.apply(&ProducerBatch { owner: alice, ..batch(n, 0, 0, 1, n) });
    }
    for n in 4..1000 {
        state.apply(&ProducerBatch { owner: mallory, ..batch(n, 0, 0, 1, n) });
        assert!(state.entries().count() <= 32);
    }
    for n in 0..4 {
        assert!(state.get(n).is_some(), "producer {n} is forgotten");
    }
    let of_mallory = state.entries().filter(|entry| entry.producer_id >= 4).count();
    assert!((13..=16).contains(&of_mallory), "{of_mallory}");
    assert!(state.get(999).is_some());
    // A full table takes from anybody; those whose owner is not known are anybody.
    for n in 2000..2040 {
        state.apply(&batch(n, 0, 0, 1, n));
    }
    assert!(state.entries().count() <= 32 && state.get(2039).is_some());
}
