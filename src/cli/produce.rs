//! `schloss produce`: lines become records.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::client::progress::Progress;
use super::client::record_text::{Format, from_json};
use super::client::{ConnectArgs, Role, Session, finish, say, talk};
use super::exit;
use crate::model::compression::CompressionType;
use crate::model::time::Clock as _;
use crate::network::outbound::{Acks, BATCH_BYTES, Cluster, NewRecord, Producer, Written};
use crate::server::clock::SystemClock;
use crate::server::files;

/// Lines that are read ahead of the broker.
const AHEAD: usize = 10_000;
/// What comes out of a pipe is told in few lines: a range of offsets goes on as long as no more than this passes.
const PIPE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    topic: String,
    /// What to read; standard input if nothing is said
    file: Option<PathBuf>,
    /// The key of every record
    #[arg(short, long)]
    key: Option<String>,
    /// A header of every record; may be given again
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", value_parser = super::key_value)]
    headers: Vec<(String, String)>,
    /// How a line is read, for example '%k\t%v'
    #[arg(short, long, value_parser = Format::parse, conflicts_with = "json")]
    format: Option<Format>,
    /// Each line is a JSON object with value, key, headers, partition, timestamp, as `schloss consume -J` writes it
    #[arg(short = 'J', long)]
    json: bool,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long = "compression", default_value = "none", value_parser = codec)]
    codec: CompressionType,
    /// How many brokers must have a record: 0, 1 or all
    #[arg(long, default_value = "all", value_parser = acks)]
    acks: Acks,
    /// The partition of every record, whatever its key
    #[arg(short, long)]
    partition: Option<i32>,
    /// Do not print where records were written
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

fn codec(name: &str) -> Result<CompressionType, String> {
    let all = (0..=4).filter_map(CompressionType::from_id);
    let mut found = all.filter(|codec| codec.name() == name);
    found.next().ok_or_else(|| "it is none of none, gzip, snappy, lz4, zstd".to_owned())
}

fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("it is none of 0, 1, all".to_owned()),
    }
}

pub(super) fn run(args: &Arguments, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(args, env))
}

fn carry_out(args: &Arguments, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let mut session = Session::open(&args.connect, env, Role::Data)?;
    // A topic that is refused is told before anything is typed.
    session.run(async |cluster| Ok(cluster.topic(&args.topic).await?))?;
    let mut lines = read_ahead(args.file.clone())?;
    let mut producer = Producer::new(&args.topic, args.acks, args.codec);
    // Who types is answered at once.
    let is_typed = args.file.is_none() && io::stdin().is_terminal();
    let progress = Progress::new(!is_typed);
    let mut told = Told { topic: &args.topic, is_quiet: args.quiet, is_typed, progress, ranges: BTreeMap::new() };
    let is_whole = session.run(async |cluster| {
        let outcome = write_all(args, &mut lines, &mut producer, cluster, &mut told).await;
        told.tell_all()?;
        outcome
    })?;
    Ok(if is_whole { 0 } else { exit::FAILURE })
}

/// Whether every line was written.
async fn write_all(
    args: &Arguments,
    lines: &mut mpsc::Receiver<io::Result<Vec<u8>>>,
    producer: &mut Producer,
    cluster: &mut Cluster,
    told: &mut Told<'_>,
) -> anyhow::Result<bool> {
    let mut is_whole = true;
    let mut number = 0;
    let mut held = None;
    loop {
        if told.is_typed {
            told.tell_all()?;
        }
        let next = tokio::time::timeout(PIPE_PAUSE, next_batch(args, lines, &mut number, &mut held)).await;
        let Ok(next) = next else {
            told.tell_all()?;
            continue;
        };
        let Some(batch) = next? else { return Ok(is_whole) };
        for outcome in producer.write(cluster, &batch).await? {
            match outcome {
                Ok(written) => told.add(written)?,
                Err(unwritten) => {
                    is_whole = false;
                    let text = format!("error: {} record(s) were not written: {}", unwritten.count, unwritten.error);
                    told.progress.aside(|| talk(&text));
                }
            }
        }
    }
}

/// Where records were written: one line for offsets that follow each other.
struct Told<'a> {
    topic: &'a str,
    is_quiet: bool,
    is_typed: bool,
    progress: Progress,
    /// First and last offset of each partition that are not printed yet.
    ranges: BTreeMap<i32, (i64, i64)>,
}

impl Told<'_> {
    fn add(&mut self, written: Written) -> io::Result<()> {
        self.progress.add(u64::try_from(written.count).unwrap_or(0));
        let Some(first) = written.base_offset else { return Ok(()) };
        let last = first + i64::from(written.count) - 1;
        match self.ranges.get_mut(&written.partition) {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => {
                if let Some(range) = self.ranges.insert(written.partition, (first, last)) {
                    self.tell(written.partition, range)?;
                }
            }
        }
        Ok(())
    }

    fn tell_all(&mut self) -> io::Result<()> {
        std::mem::take(&mut self.ranges).into_iter().try_for_each(|(partition, range)| self.tell(partition, range))
    }

    fn tell(&self, partition: i32, (first, last): (i64, i64)) -> io::Result<()> {
        if self.is_quiet {
            return Ok(());
        }
        let range = if last > first { format!("{first}-{last}") } else { first.to_string() };
        self.progress.aside(|| say(&format!("{}-{partition} @ {range}", self.topic)))
    }
}

/// Lines from a thread of their own: reading a terminal waits.
fn read_ahead(file: Option<PathBuf>) -> anyhow::Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let mut input: Box<dyn io::BufRead + Send> = match file {
        Some(path) => Box::new(io::BufReader::new(files::open(&path)?)),
        None => Box::new(io::BufReader::new(io::stdin())),
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            let item = match read {
                Ok(0) => return,
                Ok(_) => Ok(line),
                Err(error) => Err(error),
            };
            let is_over = item.is_err();
            if sender.blocking_send(item).is_err() || is_over {
                return;
            }
        }
    });
    Ok(receiver)
}

/// The lines that are there now, at least one, as records; as many as go into a batch. `None` at the end. Nothing is lost
/// if it is dropped while it waits.
async fn next_batch(
    args: &Arguments,
    lines: &mut mpsc::Receiver<io::Result<Vec<u8>>>,
    number: &mut u64,
    held: &mut Option<NewRecord>,
) -> anyhow::Result<Option<Vec<NewRecord>>> {
    let mut batch: Vec<NewRecord> = held.take().into_iter().collect();
    let mut bytes: usize = batch.iter().map(NewRecord::size).sum();
    loop {
        let line = if batch.is_empty() { lines.recv().await } else { lines.try_recv().ok() };
        let Some(line) = line else { break };
        *number += 1;
        let record = record(args, &line?).with_context(|| format!("line {number}"))?;
        bytes += record.size();
        if bytes > BATCH_BYTES && !batch.is_empty() {
            *held = Some(record);
            break;
        }
        batch.push(record);
    }
    Ok((!batch.is_empty()).then_some(batch))
}

fn record(args: &Arguments, line: &[u8]) -> anyhow::Result<NewRecord> {
    let mut record = match &args.format {
        Some(format) => format.read(line)?,
        None if args.json => from_json(line)?,
        None => NewRecord { value: Some(line.to_vec()), ..NewRecord::default() },
    };
    if record.timestamp_ms <= 0 {
        record.timestamp_ms = SystemClock::new().wall().0;
    }
    if let Some(key) = &args.key {
        record.key = Some(key.clone().into_bytes());
    }
    let headers = args.headers.iter().map(|(key, value)| (key.clone().into_bytes(), Some(value.clone().into_bytes())));
    record.headers.extend(headers);
    record.partition = args.partition.or(record.partition);
    Ok(record)
}
