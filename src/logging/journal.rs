//! Lines as the journal reads them from a service's stderr: `<priority>message field=value …` (sd-daemon(3)).

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format.
pub(super) struct Lines;

impl<S, F> FormatEvent<S, F> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    F: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, F>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // The journal takes a line for an entry: a line feed inside would begin another one.
        let mut line = String::new();
        context.format_fields(Writer::new(&mut line), event)?;
        write!(
            writer,
            "<{}>{}: ",
            priority(*event.metadata().level()),
            event.metadata().target()
        )?;
        writeln!(writer, "{}", line.replace('\n', " "))
    }
}

/// Whole lines, each with the priority of what is only to be known.
pub(super) fn with_priority(lines: &[u8]) -> Vec<u8> {
    let mark = format!("<{}>", priority(Level::INFO));
    let lines = lines.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| [mark.as_bytes(), line].concat())
        .collect()
}

/// syslog(3) priorities.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .expect("no other thread")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_of_the_session_log_has_a_priority_of_its_own() {
        let lines = with_priority(b"one\ntwo\n");
        assert_eq!(lines, b"<6>one\n<6>two\n");
        assert_eq!(with_priority(b""), b"");
    }

    #[test]
    fn an_event_is_a_line_with_a_priority() {
        let log = Log::default();
        let copy = log.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines)
            .with_ansi(false);
        let subscriber =
            tracing_subscriber::registry().with(layer.with_writer(move || copy.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "vrrp", vip = "api", "moved\nhere");
        });
        let bytes = log.0.lock().expect("no other thread").clone();
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(text, "<4>vrrp: moved here vip=\"api\"\n");
    }
}
