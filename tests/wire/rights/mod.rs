//! The table of rights: what each API needs, asked in every situation of ACLs, against what Apache Kafka 4.3.1 answered.
//!
//! A table names requests and the rights they need; the cells follow from that ([`situation`]). In each cell the user's
//! ACLs are set and the same bytes are sent in every version; compared are all fields of all messages that come back, and
//! whether the connection stays open. `tests/wire/record` records the answers.

mod doors;
mod situation;
mod stage;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use self::stage::Stage;
use self::table::{Case, Cell, Table};
use crate::script::{Peer, Script, Step, differences, without};
use crate::{for_each, recorded_in, support};

/// APIs that need no right, and why.
const WITHOUT_RIGHTS: [(&str, &str); 3] = [
    ("SaslHandshake", "asked before anybody is known"),
    ("ApiVersions", "asked before anybody is known"),
    ("SaslAuthenticate", "it is what makes somebody known"),
];

/// What there is in every cell.
fn world() -> Script {
    Script::read(&support::repository().join("tests/wire/rights/world.json"))
}

fn tables() -> Vec<PathBuf> {
    recorded_in("rights/tables")
}

#[test]
fn every_right_in_every_situation() {
    let world = world();
    for_each(&tables(), 4, |path| {
        let table = Table::read(path);
        let mut peer = Peer::schloss(&world);
        let mut stage = Stage::new(&mut peer, &world);
        let differing: Vec<String> =
            table.cases.iter().flat_map(|case| replay(&mut stage, &table.api, case, &case.cells())).collect();
        if differing.is_empty() { Ok(()) } else { Err(differing.join("\n")) }
    });
}

/// What is answered otherwise than recorded, and in which cells.
fn replay(stage: &mut Stage<'_>, api: &str, case: &Case, cells: &[Cell]) -> Vec<String> {
    let mut differing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cell in cells.iter().copied() {
        let expected = if case.never_allowed.is_some() { Cell::NO_RIGHTS } else { cell };
        for (step, given) in stage.play(api, case, cell) {
            let mut found = Vec::new();
            let recorded = case.recorded(step.version, expected);
            if case.only_refusals.is_some() && recorded != case.recorded(step.version, Cell::NO_RIGHTS) {
                continue;
            }
            match recorded {
                Some(wanted) => compare(&step, wanted, &given, &mut found),
                None => found.push("not recorded; tests/wire/record records it".to_owned()),
            }
            if !found.is_empty() {
                let cell = format!("v{} {}: {}", step.version, case.needs[cell.need], cell.situation);
                differing.entry(found.join("\n    ")).or_default().push(cell);
            }
        }
    }
    let told = |(found, cells): (String, Vec<String>)| {
        let some = cells.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        format!("{}: {} cells, {some} …\n    {found}", case.about, cells.len())
    };
    differing.into_iter().map(told).collect()
}

fn compare(step: &Step, wanted: &[Value], given: &[Value], found: &mut Vec<String>) {
    if wanted.len() != given.len() {
        found.push(format!("wanted {wanted:?}, given {given:?}"));
    }
    for (wanted, given) in wanted.iter().zip(given) {
        differences("", &without(wanted.clone(), step, given), &without(given.clone(), step, given), found);
    }
}

/// Each API that is served needs rights that are in a table, or is listed as one that needs none.
#[test]
fn every_api_has_its_rights() {
    let tables: Vec<Table> = tables().iter().map(|path| Table::read(path)).collect();
    for spec in schloss::handlers::table() {
        let api = spec.key.name();
        let needs_none = WITHOUT_RIGHTS.iter().any(|(name, _)| *name == api);
        assert_ne!(tables.iter().any(|table| table.api == api), needs_none, "{api}");
    }
    for table in &tables {
        assert!(table.recorded_on.starts_with("Apache Kafka 4.3.1"), "{}: {}", table.api, table.recorded_on);
        for case in &table.cases {
            assert!(!case.needs.is_empty(), "{}: {}", table.api, case.about);
            let cells = if case.never_allowed.is_some() { vec![Cell::NO_RIGHTS] } else { case.cells() };
            for cell in cells {
                for step in stage::steps(case, &table.api) {
                    let is_there = case.recorded(step.version, cell).is_some();
                    assert!(is_there, "{} v{}, {}: {cell:?}", table.api, step.version, case.about);
                }
            }
        }
    }
}

#[test]
#[ignore = "records on Apache Kafka; tests/wire/record runs it"]
fn record_rights() {
    let world = world();
    for_each(&tables(), 2, |path| {
        let mut table = Table::read(path);
        let mut peer = Peer::kafka(&world);
        let mut stage = Stage::new(&mut peer, &world);
        for case in &mut table.cases {
            record(&mut stage, &table.api, case);
        }
        table.recorded_on = "Apache Kafka 4.3.1, by tests/wire/record".to_owned();
        table.write(path);
        Ok(())
    });
}

fn record(stage: &mut Stage<'_>, api: &str, case: &mut Case) {
    let mut answered = Vec::new();
    let cells = if case.never_allowed.is_some() { vec![Cell::NO_RIGHTS] } else { case.cells() };
    for cell in cells {
        for (step, messages) in stage.play(api, case, cell) {
            // What is not compared would only be noise.
            let messages = messages.into_iter().map(|message| without(message.clone(), &step, &message)).collect();
            answered.push((step.version, cell, messages));
        }
    }
    case.record(answered);
}
