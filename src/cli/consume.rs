//! `schloss consume`: records become lines.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::client::progress::Progress;
use super::client::record_text::{Format, to_json};
use super::client::start::{Start, end_of};
use super::client::{ConnectArgs, Role, Session, finish, talk};
use crate::model::error_code::ErrorCode;
use crate::model::time::Clock as _;
use crate::network::outbound::{ClientError, Cluster, Consumer, Fetched, HEARTBEAT, Member, Partition, ReadRecord};
use crate::server::clock::SystemClock;

/// How long a broker may wait for a record before it says that there is none.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// How often a group's position is moved while records come.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[arg(required = true)]
    topics: Vec<String>,
    /// Share the partitions with the group's other members, go on where it stands, and move it
    #[arg(short, long)]
    group: Option<String>,
    /// Where to begin: start, end, an offset, -N (the last N records), @TIME (ms since 1970, RFC 3339, or 1h ago as @-1h); with
    /// a group only where it has no position yet
    #[arg(short, long, default_value = "end", allow_hyphen_values = true, value_parser = Start::parse)]
    offset: Start,
    /// Stop after so many records
    #[arg(short, long)]
    number: Option<u64>,
    /// Stop at the end of every partition
    #[arg(short, long)]
    exit: bool,
    /// Only these partitions
    #[arg(short, long, value_delimiter = ',', conflicts_with = "group")]
    partition: Vec<i32>,
    /// What is printed of a record, for example '%t-%p @ %o: %k = %v\n' (%T time, %h headers, %K %S lengths)
    #[arg(short, long, default_value = "%v\\n", value_parser = Format::parse, conflicts_with = "json")]
    format: Format,
    /// A JSON object for each record
    #[arg(short = 'J', long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) fn run(args: &Arguments, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(args, env))
}

fn carry_out(args: &Arguments, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let mut session = Session::open(&args.connect, env, Role::Data)?;
    session.run(async |cluster| {
        // Records on the terminal are progress enough.
        let progress = Progress::new(!std::io::stdout().is_terminal());
        if let Some(number) = args.number {
            progress.expect(number);
        }
        let mut reading = Reading {
            args,
            consumer: Consumer::default(),
            printed: 0,
            progress,
            ends: BTreeMap::new(),
            moved: BTreeMap::new(),
        };
        match &args.group {
            Some(group) => reading.as_member(cluster, group).await,
            None => reading.alone(cluster).await,
        }
    })?;
    Ok(0)
}

/// One run of the verb.
struct Reading<'a> {
    args: &'a Arguments,
    consumer: Consumer,
    printed: u64,
    progress: Progress,
    /// With `-e`: where each partition ended when it was begun.
    ends: BTreeMap<Partition, i64>,
    /// What was printed and is not committed yet.
    moved: BTreeMap<Partition, i64>,
}

impl Reading<'_> {
    async fn alone(&mut self, cluster: &mut Cluster) -> anyhow::Result<()> {
        let mut partitions = Vec::new();
        for topic in &self.args.topics {
            let found = cluster.topic(topic).await?;
            let indexes = found.partitions.iter().map(|partition| partition.partition_index);
            let wanted = indexes.filter(|index| self.args.partition.is_empty() || self.args.partition.contains(index));
            partitions.extend(wanted.map(|index| Partition { topic: topic.clone(), index }));
        }
        if partitions.is_empty() {
            anyhow::bail!("none of the partitions exists");
        }
        for partition in partitions {
            self.begin(cluster, partition, None).await?;
        }
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        while !self.is_over() {
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                fetched = self.consumer.poll(cluster, MAX_WAIT) => {
                    let fetched = fetched.map_err(explained)?;
                    self.print(&fetched)?;
                }
            }
        }
        Ok(())
    }

    async fn as_member(&mut self, cluster: &mut Cluster, group: &str) -> anyhow::Result<()> {
        for topic in &self.args.topics {
            cluster.topic(topic).await?;
        }
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut member = Member::new(group, &self.args.topics);
        // Only a wait can be broken off: an answer that is under way belongs to the connection.
        let read = tokio::select! {
            biased;
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            read = self.share(cluster, &mut member) => read,
        };
        // What was broken off may have left half an answer behind.
        cluster.drop_all();
        let committed = match self.moved.is_empty() {
            true => Ok(true),
            false => member.commit(cluster, &self.moved).await,
        };
        member.leave(cluster).await?;
        read?;
        if !committed? {
            talk("warning: another member has these partitions now; it will read the last records again");
        }
        Ok(())
    }

    async fn share(&mut self, cluster: &mut Cluster, member: &mut Member) -> anyhow::Result<()> {
        let clock = SystemClock::new();
        loop {
            let share = member.join(cluster).await?;
            self.consumer.clear();
            self.ends.clear();
            self.moved.clear();
            let stands = member.committed(cluster, &share).await?;
            for partition in share {
                let position = stands.get(&partition).copied();
                self.begin(cluster, partition, position).await?;
            }
            let (mut beat, mut saved) = (clock.mono(), clock.mono());
            let mut is_in = true;
            while is_in {
                if self.is_over() {
                    return Ok(());
                }
                let fetched = self.consumer.poll(cluster, MAX_WAIT).await.map_err(explained)?;
                if self.consumer.positions().next().is_none() {
                    // Nothing to read: more members than partitions.
                    tokio::time::sleep(MAX_WAIT).await;
                }
                self.print(&fetched)?;
                let now = clock.mono();
                if !self.moved.is_empty() && now.since(saved) >= COMMIT_EVERY {
                    is_in = member.commit(cluster, &self.moved).await?;
                    self.moved.clear();
                    saved = now;
                }
                if is_in && now.since(beat) >= HEARTBEAT {
                    is_in = member.heartbeat(cluster).await?;
                    beat = now;
                }
            }
            if !self.moved.is_empty() {
                // The generation that ends takes positions until its members have joined again.
                member.commit(cluster, &self.moved).await?;
            }
        }
    }

    /// Begins to read a partition: where the group stands, or where it was said.
    async fn begin(
        &mut self,
        cluster: &mut Cluster,
        partition: Partition,
        position: Option<i64>,
    ) -> anyhow::Result<()> {
        let end = end_of(cluster, &partition).await?;
        let offset = match position {
            Some(position) => position,
            None => self.args.offset.resolve(cluster, &partition, end, SystemClock::new().wall()).await?,
        };
        if self.args.exit {
            if self.args.number.is_none() {
                self.progress.expect(u64::try_from(end.saturating_sub(offset)).unwrap_or(0));
            }
            self.ends.insert(partition.clone(), end);
        }
        Ok(self.consumer.seek(cluster, partition, offset).await?)
    }

    /// Have all records come that were asked for?
    fn is_over(&self) -> bool {
        let has_all = self.args.number.is_some_and(|number| self.printed >= number);
        let at_end = |(partition, offset)| self.ends.get(partition).is_some_and(|end| offset >= *end);
        has_all || (self.args.exit && self.consumer.positions().all(at_end))
    }

    fn print(&mut self, fetched: &[Fetched]) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let before = self.printed;
        for fetched in fetched {
            let end = self.ends.get(&fetched.partition).copied().unwrap_or(i64::MAX);
            let mut next_offset = fetched.next_offset;
            for record in &fetched.records {
                if self.args.number.is_some_and(|number| self.printed >= number) || record.offset >= end {
                    next_offset = record.offset;
                    break;
                }
                out.write_all(&self.line(&fetched.partition, record))?;
                self.printed += 1;
            }
            if self.args.group.is_some() {
                self.moved.insert(fetched.partition.clone(), next_offset);
            }
        }
        // What is committed has been printed.
        out.flush()?;
        self.progress.add(self.printed - before);
        Ok(())
    }

    fn line(&self, partition: &Partition, record: &ReadRecord) -> Vec<u8> {
        if self.args.json {
            let mut line = to_json(partition, record).into_bytes();
            line.push(b'\n');
            line
        } else {
            self.args.format.show(partition, record)
        }
    }
}

/// A refusal with what to do about it.
fn explained(error: ClientError) -> anyhow::Error {
    let hint = match error.code() {
        Some(ErrorCode::OffsetOutOfRange) => "the records there are gone or not written yet: begin elsewhere with -o",
        _ => return error.into(),
    };
    anyhow::Error::from(error).context(hint)
}
