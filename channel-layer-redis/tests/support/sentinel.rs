//! A master, a replica and three sentinels.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::server::{Process, Server, cli, free_port, wait_until_ready};

pub(crate) const SERVICE: &str = "mymaster";

pub(crate) struct Sentinels {
    /// The first master, and the replica.
    pub(crate) servers: [Server; 2],
    sentinels: Vec<Sentinel>,
}

pub(crate) struct Sentinel {
    pub(crate) port: u16,
    _process: Process,
    _dir: TempDir,
}

impl Sentinels {
    /// Starts all of them. Returns when they know each other.
    pub(crate) fn start() -> Self {
        let master = Server::start();
        let replica = Server::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
        let start = |_| Sentinel::watching(&[(SERVICE, master.port)], 2, "");
        let sentinels = (0..3).map(start).collect();
        let all = Self { servers: [master, replica], sentinels };
        all.wait_for("num-slaves", "1");
        all.wait_for("num-other-sentinels", "2");
        all
    }

    pub(crate) fn address(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port)).collect();
        format!("redis+sentinel://{}/{SERVICE}/0", hosts.join(","))
    }

    /// The port of the master, as most sentinels see it.
    pub(crate) fn master(&self) -> u16 {
        let ports: Vec<u16> = self.sentinels.iter().map(Sentinel::master).collect();
        *ports.iter().max_by_key(|port| ports.iter().filter(|other| other == port).count()).expect("three")
    }

    /// Promotes the replica while the master works.
    pub(crate) fn fail_over(&self) {
        let answer = cli(self.sentinels[0].port, &["sentinel", "failover", SERVICE]);
        assert_eq!(answer, "OK");
    }

    /// Waits until this server is the master according to all sentinels.
    pub(crate) fn wait_for_master(&self, server: usize) {
        let port = self.servers[server].port;
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_master = || {
            self.sentinels.iter().all(|sentinel| sentinel.master() == port)
                && self.servers[server].cli(&["role"]).starts_with("master")
        };
        while !is_master() {
            assert!(Instant::now() < deadline, "{port} has not become the master");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_for(&self, field: &str, value: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        for sentinel in &self.sentinels {
            while sentinel.field(field).as_deref() != Some(value) {
                assert!(Instant::now() < deadline, "{field} is {:?}", sentinel.field(field));
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Sentinel {
    /// A sentinel of these masters, with this quorum and further settings.
    pub(crate) fn watching(masters: &[(&str, u16)], quorum: usize, settings: &str) -> Self {
        let (dir, port) = (TempDir::new().expect("a directory"), free_port());
        let config = dir.path().join("sentinel.conf");
        let mut text =
            format!("port {port}\nbind 127.0.0.1\nprotected-mode no\ndir {}\n", dir.path().display());
        for (service, master) in masters {
            text += &format!(
                "sentinel monitor {service} 127.0.0.1 {master} {quorum}\n\
                 sentinel down-after-milliseconds {service} 1000\n\
                 sentinel failover-timeout {service} 5000\n\
                 sentinel parallel-syncs {service} 1\n"
            );
        }
        fs::write(&config, text + settings).expect("a file");
        let mut command = Command::new("redis-server");
        let process = Process::start(command.arg(&config).arg("--sentinel").stdout(Stdio::null()));
        wait_until_ready(port);
        Self { port, _process: process, _dir: dir }
    }

    /// The address of a layer on the masters of these names.
    pub(crate) fn address(&self, services: &str) -> String {
        format!("redis+sentinel://127.0.0.1:{}/{services}", self.port)
    }

    /// Makes it report another master, while the previous one works.
    pub(crate) fn name_another(&self, master: u16) {
        assert_eq!(cli(self.port, &["sentinel", "remove", SERVICE]), "OK");
        let monitor = ["sentinel", "monitor", SERVICE, "127.0.0.1", &master.to_string(), "1"];
        assert_eq!(cli(self.port, &monitor), "OK");
    }

    fn master(&self) -> u16 {
        let answer = cli(self.port, &["sentinel", "get-master-addr-by-name", SERVICE]);
        answer.lines().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0)
    }

    fn field(&self, name: &str) -> Option<String> {
        let answer = cli(self.port, &["sentinel", "master", SERVICE]);
        let mut lines = answer.lines();
        lines.find(|line| *line == name)?;
        lines.next().map(str::to_owned)
    }
}
