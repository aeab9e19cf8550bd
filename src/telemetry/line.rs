//! Kafka's log line: `[2026-11-23 08:22:59,806] INFO text (logger)`, which existing parsing rules match.
//!
//! The logger is the event's target with `.` for `::`; fields follow the message as ` name=value`. An event is one line:
//! whatever control characters it holds are escaped here, even if its author forgot.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::model::time::Clock;
use crate::telemetry::printable::Escaping;

const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second],[subsecond digits:3]");

/// Where the lines go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// The server.
    Stdout,
    /// Every other verb: its standard output is its answer.
    Stderr,
}

/// A subscriber is in place already.
#[derive(Debug, thiserror::Error)]
#[error("logging is already set up: {0}")]
pub struct InstallError(#[from] tracing_subscriber::util::TryInitError);

/// Starts logging for the process. `filter` is the text of `RUST_LOG`; without one, INFO and above are shown, and a
/// filter that can't be read counts as none. Call it before the first thread is started, or the lines are in UTC.
pub fn install(output: Output, filter: Option<&str>, clock: Arc<dyn Clock>) -> Result<(), InstallError> {
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new("info"));
    let offset = UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC);
    let lines = tracing_subscriber::fmt::layer().event_format(KafkaLine { clock, offset });
    let registry = tracing_subscriber::registry().with(filter);
    match output {
        Output::Stdout => registry.with(lines.with_writer(std::io::stdout)).try_init()?,
        Output::Stderr => registry.with(lines.with_writer(std::io::stderr)).try_init()?,
    }
    Ok(())
}

/// Formats one event as one line.
pub struct KafkaLine {
    pub clock: Arc<dyn Clock>,
    pub offset: UtcOffset,
}

impl fmt::Debug for KafkaLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLine").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<S, N> FormatEvent<S, N> for KafkaLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let nanos = i128::from(self.clock.wall().0) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let time = time.to_offset(self.offset).format(TIMESTAMP).map_err(|_| fmt::Error)?;
        write!(out, "[{time}] {} ", event.metadata().level())?;
        let mut fields = Fields { out: Escaping(&mut out), rest: String::new(), result: Ok(()) };
        event.record(&mut fields);
        let Fields { rest, result, .. } = fields;
        result?;
        out.write_str(&rest)?;
        writeln!(out, " ({})", event.metadata().target().replace("::", "."))
    }
}

/// Writes the message at once and keeps the fields for after it.
struct Fields<'a, W: ?Sized> {
    out: Escaping<'a, W>,
    rest: String,
    result: fmt::Result,
}

impl<W: fmt::Write + ?Sized> Visit for Fields<'_, W> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = if field.name() == "message" {
            write!(self.out, "{value:?}")
        } else {
            write!(Escaping(&mut self.rest), " {}={value:?}", field.name())
        };
        self.result = self.result.and(written);
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use parking_lot::Mutex;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::model::time::{Mono, Wall};

    #[derive(Debug)]
    struct FixedClock;

    impl Clock for FixedClock {
        fn mono(&self) -> Mono {
            Mono(0)
        }

        fn wall(&self) -> Wall {
            Wall(1_795_422_179_806)
        }
    }

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Captured {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn captured(filter: &str, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let line = KafkaLine { clock: Arc::new(FixedClock), offset: UtcOffset::UTC };
        let layer = tracing_subscriber::fmt::layer().event_format(line).with_writer(captured.clone());
        let subscriber = tracing_subscriber::registry().with(EnvFilter::new(filter)).with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = captured.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn writes_kafkas_line() {
        let out = captured("info", || {
            tracing::info!(target: "kafka.network.DataPlaneAcceptor", "Awaiting socket connections on 0.0.0.0:9092.");
        });
        assert_eq!(
            out,
            "[2026-11-23 08:22:59,806] INFO Awaiting socket connections on 0.0.0.0:9092. (kafka.network.DataPlaneAcceptor)\n"
        );
    }

    #[test]
    fn names_the_room_and_appends_fields() {
        let out = captured("info", || tracing::warn!(port = 9092, who = "a b", "refused"));
        assert_eq!(out, "[2026-11-23 08:22:59,806] WARN refused port=9092 who=a b (schloss.telemetry.line.tests)\n");
    }

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        let out =
            captured("info", || tracing::info!(target: "t", id = %"x\u{1b}[31m", "client {}", "a\r\n[x] ERROR b"));
        assert_eq!(out, "[2026-11-23 08:22:59,806] INFO client a\\r\\n[x] ERROR b id=x\\x1b[31m (t)\n");
    }

    #[test]
    fn filters_by_kafkas_logger_names() {
        let out = captured("info,kafka.authorizer.logger=debug", || {
            tracing::debug!(target: "kafka.authorizer.logger", "allowed");
            tracing::debug!(target: "kafka.request.logger", "hidden");
        });
        assert!(out.contains("DEBUG allowed (kafka.authorizer.logger)"), "{out}");
        assert!(!out.contains("hidden"));
    }
}
