//! A worker that writes the numbers it has handled to a file: `counting-worker URL FILE CONCURRENCY`.

use std::{env, fs::File, io::Write, time::Duration};

use channel_layer::Registry;
use serde::Deserialize;
use ws_consumer::{
    Result,
    worker::{Job, RetryPolicy, Worker, Workers},
};

struct Counter(File);

#[derive(Deserialize)]
struct Number {
    n: u32,
}

impl Worker for Counter {
    type Event = Number;

    async fn handle(&self, _: &Job, Number { n }: Number) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        // One write to an append-only file: complete or absent, whenever the process is killed.
        (&self.0).write_all(format!("{n}\n").as_bytes())?;
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [url, file, concurrency] = &arguments[..] else { panic!("counting-worker URL FILE CONCURRENCY") };
    let file = File::options().append(true).create(true).open(file).expect("the file can be opened");
    let registry = Registry::default().with(channel_layer_redis::schemes());
    let layer = registry.connect(url).await.expect("the layer is there");
    let terms = RetryPolicy::default().concurrency(concurrency.parse().expect("a number"));
    let workers = Workers::new(layer).channel("numbers", Counter(file), terms).expect("a valid name");
    println!("ready");
    workers.run().await;
}
