//! An nginx in front of several servers.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use tempfile::TempDir;
use tokio::process::Command;

use crate::program::Program;

/// The header of a response that names the server behind nginx which made it.
pub const SERVED_BY: &str = "x-served-by";

/// An nginx on a free port, which gives each request to the next server.
#[derive(Debug)]
pub struct Nginx {
    /// The address that it listens on.
    pub address: SocketAddr,
    // Dropped before the folder that it writes to.
    _program: Program,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it in front of these servers; without `nginx` the test fails.
    pub async fn start(servers: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("the port is known");
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(address, servers)).expect("the folder is writable");
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(file);
        // The ports are open before it reports the system's limits.
        let ready = |line: &str| line.contains("getrlimit").then_some(());
        let (program, ()) = Program::start(command, ready).await;
        Self { address, _program: program, _folder: folder }
    }
}

/// The configuration of a single process, which ends with its handle. All files are in its folder.
fn configuration(address: SocketAddr, servers: &[SocketAddr]) -> String {
    let servers: String = servers.iter().map(|server| format!("server {server};\n")).collect();
    format!(
        "daemon off;
        master_process off;
        pid nginx.pid;
        error_log stderr notice;
        events {{ }}
        http {{
            access_log off;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            upstream servers {{
                {servers}
            }}
            map $http_upgrade $connection_of_upgrade {{
                default upgrade;
                '' '';
            }}
            server {{
                listen {address};
                location / {{
                    proxy_pass http://servers;
                    proxy_http_version 1.1;
                    proxy_buffering off;
                    proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    proxy_set_header X-Forwarded-Proto $scheme;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $connection_of_upgrade;
                    add_header {SERVED_BY} $upstream_addr always;
                }}
            }}
        }}"
    )
}
