//! Limits of a process, and its use of files and memory.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::program::Program;

/// Raises the number of files that this process, and each program that it starts from now on, can open to the
/// maximum, and returns it.
pub fn may_open() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.or(limit.current);
    if limit.current < most {
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: limit.maximum })
            .expect("the soft limit may be raised up to the hard one");
    }
    most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// Sets the number of files that a running program can open.
pub fn let_open(program: &Program, files: u64) {
    let id = program.id().expect("the program still runs").cast_signed();
    let id = Pid::from_raw(id).expect("no process has the id 0");
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(Some(id), Resource::Nofile, Rlimit { current: Some(files), maximum })
        .expect("a child's limit may be changed");
}

/// The files that a program has open.
pub fn open_files(program: &Program) -> usize {
    let id = program.id().expect("the program still runs");
    fs::read_dir(format!("/proc/{id}/fd")).expect("the files of a child can be listed").count()
}

/// The memory that a program has in use, in bytes.
pub fn resident(program: &Program) -> usize {
    status(program, "VmRSS:")
}

/// The private memory that a program has in use, in bytes: without its code and other mapped files.
pub fn allocated(program: &Program) -> usize {
    status(program, "RssAnon:")
}

fn status(program: &Program, name: &str) -> usize {
    let id = program.id().expect("the program still runs");
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a child's state can be read");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it says how much memory");
    let kib = line.trim().strip_suffix(" kB").and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("as a number of KiB") * 1024
}
