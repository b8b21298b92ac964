//! A process that a test started, and ends.

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::{fmt, thread};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use rustix::process::Signal;

use crate::within;

/// A running program. Dropping the handle kills it, and shows its output if the test is failing.
pub struct Program {
    name: String,
    child: Child,
    // Shared with the two tasks that read the pipes. A std lock: it is never held over an await.
    printed: Arc<Mutex<Printed>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts `command` and waits for the first printed line, on either stream, that `ready` understands.
    pub async fn start<T>(command: Command, ready: impl Fn(&str) -> Option<T>) -> (Self, T) {
        let (mut program, mut lines) = Self::spawn(command);
        let first = async {
            while let Some(line) = lines.recv().await {
                if let Some(found) = ready(&line) {
                    return Some(found);
                }
            }
            None
        };
        match within("a program's first word", first).await {
            Some(found) => (program, found),
            None => {
                let status = program.wait().await;
                panic!("{} ended before it was ready: {status}", program.name)
            }
        }
    }

    /// Waits until a program has ended by itself.
    pub async fn run(command: Command) -> (ExitStatus, Self) {
        let (mut program, lines) = Self::spawn(command);
        drop(lines);
        let status = program.wait().await;
        (status, program)
    }

    fn spawn(mut command: Command) -> (Self, mpsc::Receiver<String>) {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let printed = Arc::new(Mutex::new(Printed::default()));
        let (tell, lines) = mpsc::channel(16);
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers = vec![
            tokio::spawn(read(stdout, printed.clone(), |printed| &mut printed.stdout, tell.clone())),
            tokio::spawn(read(stderr, printed.clone(), |printed| &mut printed.stderr, tell)),
        ];
        (Self { name, child, printed, readers }, lines)
    }

    /// Waits until the program has ended and all of its output has been read.
    pub async fn wait(&mut self) -> ExitStatus {
        let status = within("a program's end", self.child.wait()).await.expect("a child can be waited for");
        for reader in self.readers.drain(..) {
            within("the end of a program's output", reader).await.expect("reading lines does not panic");
        }
        status
    }

    /// Kills the program at once, like a crash.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait().await;
    }

    /// Sends `signal` to the program, which must still run.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("the program still runs").cast_signed();
        let id = rustix::process::Pid::from_raw(id).expect("no process has the id 0");
        rustix::process::kill_process(id, signal).expect("a child may be signalled");
    }

    /// The process id, while the program runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The last lines of the program's stdout.
    pub fn stdout(&self) -> String {
        self.printed(|printed| &printed.stdout)
    }

    /// The last lines of the program's stderr.
    pub fn stderr(&self) -> String {
        self.printed(|printed| &printed.stderr)
    }

    fn printed(&self, stream: impl Fn(&Printed) -> &Lines) -> String {
        let printed = self.printed.lock().expect("no holder of this lock panics");
        stream(&printed).iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {self:?}\nstdout:\n{}stderr:\n{}---", self.stdout(), self.stderr());
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("name", &self.name).field("id", &self.child.id()).finish()
    }
}

type Lines = VecDeque<String>;

#[derive(Default)]
struct Printed {
    stdout: Lines,
    stderr: Lines,
}

// A program can print for hours; the last lines show what went wrong.
const KEPT_LINES: usize = 200;

async fn read(
    stream: impl AsyncRead + Unpin,
    printed: Arc<Mutex<Printed>>,
    kept: fn(&mut Printed) -> &mut Lines,
    tell: mpsc::Sender<String>,
) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        {
            let mut printed = printed.lock().expect("no holder of this lock panics");
            let kept = kept(&mut printed);
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line.clone());
        }
        // The receiver is gone once the program was ready; the pipe must still be read.
        tell.send(line).await.ok();
    }
}
