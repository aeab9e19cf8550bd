//! `docs/first-day.md`, run from top to bottom: what it shows is what is printed.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Broker, free_port, repository, run};

/// A command of the page and what it shows.
struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match line.strip_prefix("$ ") {
                Some(command) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
                None => steps.last_mut().expect("a block begins with a command").shown.push(line.to_owned()),
            },
        }
    }
    steps
}

/// The words of a text, which is what counts: columns are as wide as what stands in them.
fn words(lines: &[String]) -> Vec<String> {
    lines.iter().flat_map(|line| line.split_whitespace().map(str::to_owned)).collect()
}

/// `<..>` in a word is anything.
fn word_matches(shown: &str, printed: &str) -> bool {
    match shown.split_once("<..>") {
        Some((before, after)) => {
            printed.len() >= before.len() + after.len() && printed.starts_with(before) && printed.ends_with(after)
        }
        None => shown == printed,
    }
}

fn matches(shown: &[String], printed: &[String]) -> bool {
    let (shown, printed) = (words(shown), words(printed));
    shown.len() == printed.len() && shown.iter().zip(&printed).all(|(shown, printed)| word_matches(shown, printed))
}

struct Shell<'a> {
    folder: &'a Path,
    path: String,
    port: u16,
    /// Exit code of the last command: what `$?` is.
    last: i32,
    background: Vec<Child>,
}

impl Shell<'_> {
    fn command(&self, text: &str) -> Command {
        // Ports on the page are Kafka's; here everybody has one of his own.
        let text = format!("(exit {}); {text}", self.last);
        let mut command = Command::new("sh");
        command.args(["-c", &text]).current_dir(self.folder).env("PATH", &self.path);
        command
    }

    fn run(&mut self, step: &Step) {
        if let Some(background) = step.command.strip_suffix('&') {
            let mut command = self.command(&format!("exec {background}"));
            command.process_group(0).stdin(Stdio::null()).stderr(Stdio::null());
            self.background.push(command.spawn().unwrap());
            return;
        }
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let finished = run(&mut self.command(&format!("{{ {} ; }} 2>&1", step.command)), "");
            let text = finished.text().replace(&self.port.to_string(), "9092");
            let printed: Vec<String> = text.lines().map(str::to_owned).collect();
            if matches(&step.shown, &printed) {
                self.last = finished.code.unwrap_or(-1);
                return;
            }
            // Only what looks at things that still settle is looked at again.
            let settles = step.command.starts_with("schloss group describe") || step.command.starts_with("wc ");
            assert!(
                settles && Instant::now() < until,
                "$ {}\nthe page shows:\n{}\n\nprinted was:\n{text}",
                step.command,
                step.shown.join("\n")
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Shell<'_> {
    fn drop(&mut self) {
        for child in &mut self.background {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_first_day_is_as_written() {
    let page = std::fs::read_to_string(repository().join("docs/first-day.md")).unwrap();
    let mut steps = steps(&page).into_iter();
    let folder = tempfile::tempdir().unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_schloss")).parent().unwrap().to_str().unwrap();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let port = free_port();

    let first = steps.next().unwrap();
    assert_eq!(first.command, "schloss quickstart");
    let mut quickstart = Command::new(env!("CARGO_BIN_EXE_schloss"));
    quickstart.args(["quickstart", "--port", &port.to_string()]).current_dir(folder.path());
    let mut broker = Broker::background(&mut quickstart);
    broker.wait_for_line("Ready in ");
    let printed: Vec<String> = broker.output().replace(&port.to_string(), "9092").lines().map(str::to_owned).collect();
    assert!(matches(&first.shown, &printed), "the page shows:\n{}\n\n{}", first.shown.join("\n"), printed.join("\n"));

    let mut shell = Shell { folder: folder.path(), path, port, last: 0, background: Vec::new() };
    let mut count = 0;
    for step in steps {
        shell.run(&step);
        count += 1;
    }
    assert!(count >= 20, "the page has {count} commands: it is not read to its end");
    drop(shell);
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn the_comparison_can_fail() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(matches(&lines("a  <..>d\nb"), &lines("a 90d\nb")));
    for other in ["a 90\nb", "a 90d", "a 90d\nb c", "x 90d\nb"] {
        assert!(!matches(&lines("a  <..>d\nb"), &lines(other)), "{other}");
    }
}
